// Package genproto holds the shop's messages as plain structs.
package genproto

// Money is an amount: whole units and billionths of a unit, both of the same sign.
type Money struct {
	CurrencyCode string
	Units        int64
	Nanos        int32
}

// CreditCard is what a customer pays with.
type CreditCard struct {
	Number string
	Cvv    int32
	Expiry string
}

// Order is one checkout.
type Order struct {
	ID    string
	Email string
	Items []string
	Card  *CreditCard
}
