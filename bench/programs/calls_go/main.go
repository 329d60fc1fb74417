// The traced Go program of the bench: calls main.placeOrder as often as it is told on standard input.
//
// "flat N" makes N calls and answers "N <ns for all>"; "warm N" the same with the id -1.
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

var stock int64

//go:noinline
func reserve(units int64) int64 {
	stock += units
	return stock
}

//go:noinline
func placeOrder(id, units, cents int64, customer string) int64 {
	left := reserve(units)
	return left + id*cents + int64(len(customer))
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for lines.Scan() {
		var word string
		var count int64
		fmt.Sscanf(lines.Text(), "%s %d", &word, &count)
		warm := word == "warm"
		start := time.Now()
		for call := int64(0); call < count; call++ {
			id := call
			if warm {
				id = -1
			}
			placeOrder(id, 3, 1999, "Grace Hopper, Arlington")
		}
		fmt.Println(count, time.Since(start).Nanoseconds())
	}
}
