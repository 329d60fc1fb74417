// Checkoutservice is a small shop to trace: it places an order every so often, adds its prices with
// money.Sum, charges a card, and prints every call that it made, so that a tracer can be compared with the truth.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	pb "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/genproto"
	"github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/money"
	"github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/orders"
)

type call struct {
	LUnits   int64  `json:"lUnits"`
	LNanos   int32  `json:"lNanos"`
	RUnits   int64  `json:"rUnits"`
	RNanos   int32  `json:"rNanos"`
	RetUnits int64  `json:"retUnits"`
	RetNanos int32  `json:"retNanos"`
	Currency string `json:"currency"`
	Error    string `json:"error,omitempty"`
}

var people = []struct{ email, card string }{
	{"ada@example.com", "4111 1111 1111 1111"},
	{"grace@example.org", "5500-0000-0000-0004"},
	{"linus@example.net", "340000000000009"},
}

func main() {
	every := flag.Duration("every", 100*time.Millisecond, "time between two orders")
	count := flag.Int("orders", 0, "end after this many orders; 0: never")
	quiet := flag.Bool("quiet", false, "do not print the calls")
	flag.Parse()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)

	ticker := time.NewTicker(*every)
	defer ticker.Stop()
	for n := 1; *count == 0 || n <= *count; n++ {
		price := pb.Money{CurrencyCode: "USD", Units: int64(n % 1000), Nanos: int32(n%10) * 99000000}
		shipping := pb.Money{CurrencyCode: "USD", Units: int64(n%7) + 4, Nanos: 990000000}
		if n%50 == 0 {
			shipping.CurrencyCode = "EUR" // now and then somebody mixes currencies
		}
		total, err := money.Sum(price, shipping)
		if !*quiet {
			made := call{price.Units, price.Nanos, shipping.Units, shipping.Nanos, total.Units, total.Nanos, price.CurrencyCode, ""}
			if err != nil {
				made.Error = err.Error()
			}
			_ = encoder.Encode(made)
			_ = out.Flush()
		}
		who := people[n%len(people)]
		order := &pb.Order{ID: fmt.Sprintf("o-%05d", n), Email: who.email, Items: []string{"mug", "shirt", "lamp"}[:n%3+1],
			Card: &pb.CreditCard{Number: who.card, Cvv: int32(100 + n%900), Expiry: "12/29"}}
		if _, err := orders.Charge(order, total, "receipt to "+who.email); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}
