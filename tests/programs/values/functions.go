package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
)

type Point struct{ X, Y int32 }

type Mixed struct {
	A int8
	B int64
	S string
	C bool
	D uint16
	_ int32
	P *Point
}

type Base struct {
	ID   uint32
	Name string
}

type Derived struct {
	Base
	*Point
	Extra []string
}

type Big struct {
	Count   int
	Name    string
	Flags   [3]bool
	Matrix  [2][3]int16
	Names   [2]string
	Inner   Mixed
	Tail    []byte
	Created time.Time
}

type Node struct {
	Value int
	Next  *Node
	Tags  []string
}

type Item struct {
	SKU   string
	Count int16
	Price *int64
}

type Code int

func (c Code) Error() string { return fmt.Sprintf("code %d", int(c)) }

type Failure struct {
	Op   string
	Code int32
	Err  error
}

func (f *Failure) Error() string { return f.Op }

type Shape interface{ Area() int }

type Square struct{ Side int }

func (s Square) Area() int { return s.Side * s.Side }

type Rect struct {
	W, H int
	Name string
}

func (r *Rect) Area() int { return r.W * r.H }

type Level uint8

type Server struct {
	Name  string
	Hits  uint64
	inner struct{ depth int }
}

//go:noinline
func Ints(a int8, b int16, c int32, d int64, e uint8, f uint16, g uint32, h uint64, i int) (int8, uint16, int32, uint64, int64) {
	return a ^ 1, f + 1, c - 1, h ^ d2u(d), int64(i) + int64(e) + int64(b) + int64(g)
}

func d2u(d int64) uint64 { return uint64(d) }

//go:noinline
func Many(a, b, c, d, e, f, g, h, i, j, k, l int, m int8, n string, o uint16) (int, string) {
	return a + b + c + d + e + f + g + h + i + j + k + l + int(m) + int(o), n + "!"
}

//go:noinline
func Bools(a, b bool, c rune, d byte, e Level, u uintptr) bool { return a != b && c > 0 && d > 0 && e > 0 && u > 0 }

//go:noinline
func Strings(a, b string) (string, int) { return b + a, len(a) }

//go:noinline
func Structs(p Point, m Mixed) (Mixed, Point) {
	m.A++
	return m, Point{p.Y, p.X}
}

//go:noinline
func OnStack(big Big, after int) (Big, int) {
	big.Count += after
	big.Names[0] = big.Name
	return big, big.Count
}

//go:noinline
func Pointers(n *Node, p **Point, s *string) (*Node, *int) {
	if n == nil {
		return nil, nil
	}
	return n.Next, &n.Value
}

//go:noinline
func Slices(ints []int32, strs []string, items []Item, raw []byte, ptrs []*Item, nested [][]uint16) ([]string, []int32) {
	return append(strs, "end"), ints
}

//go:noinline
func Arrays(a [4]int32, one [1]uint64, h [32]byte, none [0]int, t [2]Point) [2]uint16 {
	return [2]uint16{uint16(a[0]), uint16(one[0])}
}

//go:noinline
func Errors(kind int) (n int, err error) {
	switch kind {
	case 0:
		return 0, nil
	case 1:
		return 1, errors.New("plain failure")
	case 2:
		return 2, Code(77)
	case 3:
		return 3, &Failure{"read", -5, errors.New("inner")}
	case 4:
		return 4, fmt.Errorf("wrapped: %w", errors.New("cause"))
	}
	return kind, Code(kind)
}

//go:noinline
func Anys(v any, s Shape) (any, Shape) { return v, s }

//go:noinline
func Blank(_ int, a string, _ bool, b int64) (_ string, n int64) { return a, b * 2 }

//go:noinline
func Times(t time.Time, d time.Duration) (time.Time, time.Duration) { return t.Add(d), d * 2 }

//go:noinline
func Embedded(d Derived, p *Derived) (uint32, string) { return d.ID, p.Name }

//go:noinline
func (s *Server) Serve(path string, code int) (out string, err error) {
	s.Hits++
	return s.Name + path, nil
}

//go:noinline
func (l Level) Higher(than Level) bool { return l > than }

//go:noinline
func Floats(a float64, n int, b float32, p *float64) (float64, int) { return a + float64(b), n }

//go:noinline
func Recursive(n int, label string) int {
	if n <= 0 {
		return 1
	}
	return n * Recursive(n-1, label+"x")
}

//go:noinline
func Panics(n int) (result int) {
	if n%2 == 1 {
		panic("odd")
	}
	return n * 10
}

func Guarded(n int) (result int) {
	defer func() {
		if recover() != nil {
			result = -1
		}
	}()
	return Panics(n)
}

//go:noinline
func Work(id int, label string, deep int) (string, int) {
	total := grow(deep)
	runtime.Gosched()
	return strings.Repeat(label, 2), id + total
}

//go:noinline
func grow(n int) int {
	var room [512]byte
	if n == 0 {
		runtime.Gosched()
		return int(room[0])
	}
	return grow(n-1) + int(room[n%512])
}

//go:noinline
func Generic[T any, K comparable](v T, key K) (T, K) { return v, key }

//go:noinline
func Maps(m map[string]int, n map[int]string) int { return len(m) + len(n) }
