// Package money adds amounts of one currency.
package money

import (
	"errors"

	pb "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/genproto"
)

const nanosPerUnit = 1000000000

var (
	// ErrInvalid is returned for an amount whose parts disagree in sign or are out of range.
	ErrInvalid = errors.New("invalid amount")
	// ErrMismatch is returned for two currencies.
	ErrMismatch = errors.New("currencies differ")
)

func valid(m pb.Money) bool {
	if m.Nanos <= -nanosPerUnit || m.Nanos >= nanosPerUnit {
		return false
	}
	return m.Units == 0 || m.Nanos == 0 || (m.Units > 0) == (m.Nanos > 0)
}

// Sum adds two valid amounts of one currency.
func Sum(l, r pb.Money) (pb.Money, error) {
	if !valid(l) || !valid(r) {
		return pb.Money{}, ErrInvalid
	}
	if l.CurrencyCode != r.CurrencyCode {
		return pb.Money{}, ErrMismatch
	}
	units := l.Units + r.Units
	nanos := l.Nanos + r.Nanos
	if (units >= 0 && nanos >= 0) || (units <= 0 && nanos <= 0) {
		units += int64(nanos / nanosPerUnit)
		nanos %= nanosPerUnit
	} else if units > 0 {
		units--
		nanos += nanosPerUnit
	} else {
		units++
		nanos -= nanosPerUnit
	}
	return pb.Money{CurrencyCode: l.CurrencyCode, Units: units, Nanos: nanos}, nil
}
