// Shapes has one function for each way in which Go passes arguments and results; it calls them all and ends.
package main

import (
	"errors"
	"fmt"
	"os"
)

// Point is a struct of two words.
type Point struct{ X, Y int64 }

// Base is embedded below.
type Base struct{ ID int32 }

// Derived embeds by value and by pointer.
type Derived struct {
	Base
	*Point
	Name string
	Tags []string
}

// Level is a named integer.
type Level int8

// Shape is an interface with several implementations.
type Shape interface{ Area() int64 }

// Square is a Shape by value.
type Square struct{ Side int64 }

// Area of a Square.
//
//go:noinline
func (s Square) Area() int64 { return s.Side * s.Side }

// Area of a Point, by pointer.
//
//go:noinline
func (p *Point) Area() int64 { return p.X * p.Y }

// NotFound is an error of our own.
type NotFound struct{ Key string }

func (e *NotFound) Error() string { return "not found: " + e.Key }

var sink any

//go:noinline
func integers(a int8, b uint16, c int32, d int64, e bool, f Level) (int8, bool) {
	sink = int64(a) + int64(b) + int64(c) + d + int64(f)
	return a + 1, !e
}

//go:noinline
func blanks(a int64, _ string, b int64, _ int64, c int64) int64 { sink = a; return a + b*c }

//go:noinline
func unused(a int64, b string, c int64) int64 { return c }

//go:noinline
func unusedLast(a int64, _ int64, b int64) int64 { return a }

//go:noinline
func floats(a float64, b int64, c float32) (float64, int64, float32) { return a * 2, b + 1, c * 3 }

//go:noinline
func onStack(a [3]int64, b int64) ([2]int64, error) {
	if b < 0 {
		return [2]int64{}, errors.New("negative")
	}
	return [2]int64{a[0] + a[1] + a[2], b}, nil
}

//go:noinline
func blankOnStack(b int64, _ [3]int64) [2]int64 { return [2]int64{b, b + 1} }

//go:noinline
func tooMany(a, b, c, d, e, f, g, h, i, j, k int64) (r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 int64) {
	sink = a + b + c + d + e + f + g + h + i + j + k
	return a, b, c, d, e, f, g, h, i, k
}

//go:noinline
func wide(d Derived, s Shape, e error, m map[string]int64, one [1]int64) (Derived, error) {
	if s.Area() < 0 {
		return Derived{}, &NotFound{d.Name}
	}
	m["seen"]++
	return d, e
}

//go:noinline
func empty(a struct{}, b int64, c [0]int64) (struct{}, int64) { return a, b + 1 }

//go:noinline
func complexes(c complex128, n int64) (complex128, int64) { return c * c, n }

//go:noinline
func leaf(a, b int64) int64 { return a + b }

//go:noinline
func loops(n int64) int64 {
	for n > 100 {
		n -= 7
	}
	return n
}

//go:noinline
func large(n int) int {
	var buffer [20000]int
	for i := range buffer {
		buffer[i] = n * i
	}
	return buffer[n]
}

//go:noinline
func pick[T any](first, second T, left bool) T {
	if left {
		return first
	}
	return second
}

type box[T any] struct{ value T }

//go:noinline
func (b *box[T]) get(extra int64) (T, int64) { return b.value, extra + 1 }

func small(a int64) int64 { return a*3 + 1 }

//go:noinline
func inlines(a int64) int64 { return small(a) + small(a+1) }

//go:noinline
func anything(v any, f func(int64) int64, ch chan int) string { return fmt.Sprint(v, f(1), len(ch)) }

//go:noinline
func tail(s Shape) int64 { return s.Area() }

//go:noinline
func closures(n int64) func(int64) int64 {
	return func(m int64) int64 { sink = m; n += m; return n }
}

type node struct {
	value int64
	next  *node
}

//go:noinline
func walk(list *node, depth int) (sum int64, last *node) {
	for n := list; n != nil && depth > 0; n, depth = n.next, depth-1 {
		sum += n.value
		last = n
	}
	return
}

//go:noinline
func panics(n int64) (out int64) {
	defer func() {
		if recover() != nil {
			out = -1
		}
	}()
	if n > 1 {
		panic("too many")
	}
	return n
}

func main() {
	d := Derived{Base{7}, &Point{2, 3}, "dee", []string{"a", "b"}}
	fmt.Println(integers(-1, 2, 3, 4, true, 5))
	fmt.Println(blanks(1, "x", 2, 3, 4), unused(1, "b", 3), unusedLast(1, 2, 3))
	fmt.Println(floats(1.5, 2, 2.5))
	fmt.Println(onStack([3]int64{1, 2, 3}, int64(len(os.Args))))
	fmt.Println(blankOnStack(5, [3]int64{1, 2, 3}))
	fmt.Println(tooMany(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))
	fmt.Println(wide(d, Square{4}, &NotFound{"k"}, map[string]int64{}, [1]int64{9}))
	fmt.Println(wide(d, &Point{4, 5}, errors.New("plain"), map[string]int64{}, [1]int64{9}))
	fmt.Println(empty(struct{}{}, 1, [0]int64{}))
	fmt.Println(complexes(1i, 2))
	fmt.Println(leaf(1, 2), loops(int64(len(os.Args))*1000), large(3), inlines(4))
	fmt.Println(pick(1, 2, true), pick("a", "b", false), pick(d.Point, d.Point, true))
	fmt.Println((&box[string]{"v"}).get(1))
	fmt.Println((&box[int64]{5}).get(1))
	fmt.Println(anything(d, leafOne, make(chan int)), tail(Square{3}), closures(1)(2))
	fmt.Println(walk(&node{1, &node{2, nil}}, 5))
	fmt.Println(panics(1), panics(2))
}

//go:noinline
func leafOne(a int64) int64 { return a + 1 }
