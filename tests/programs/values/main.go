// Values calls functions with every kind of argument and says of each call what went in and what came out, so that a
// tracer can be compared with the truth. Commands come on standard input: "run NAME", answered by one line a call and
// "done".
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"
)

const depth = 3 // limits.maxDepth of the tests

type call struct {
	Arguments map[string]any `json:"arguments"`
	Results   []any          `json:"results"`
}

var (
	lock sync.Mutex
	out  = json.NewEncoder(os.Stdout)
)

func pair(name string, value any) [2]any { return [2]any{name, value} }

// before shows the arguments; what it returns shows the results and prints the call. Values come as pointers, since
// an interface that is passed by value would lose its own type.
func before(arguments ...[2]any) func(results ...any) {
	shown := map[string]any{}
	for _, each := range arguments {
		shown[each[0].(string)] = show(reflect.ValueOf(each[1]).Elem(), depth)
	}
	return func(results ...any) {
		made := call{shown, []any{}}
		for _, each := range results {
			made.Results = append(made.Results, show(reflect.ValueOf(each).Elem(), depth))
		}
		lock.Lock()
		defer lock.Unlock()
		_ = out.Encode(made)
	}
}

func node(values ...int) *Node {
	if len(values) == 0 {
		return nil
	}
	return &Node{values[0], node(values[1:]...), []string{"t", fmt.Sprint(values[0])}}
}

func price(n int64) *int64 { return &n }

var texts = []string{"", "a", "hello", "naïve ☃ 𝄞", "\xff\xfe bad \xe2\x82", strings.Repeat("long ", 200), "tab\tquote\"\\", "\x00nul"}

var scenarios = map[string]func(){
	"Ints": func() {
		for _, n := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 0x0123456789abcdef} {
			a, b, c, d, e, f, g, h, i := int8(n), int16(n), int32(n), n, uint8(n), uint16(n), uint32(n), uint64(n), int(n)
			done := before(pair("a", &a), pair("b", &b), pair("c", &c), pair("d", &d), pair("e", &e), pair("f", &f), pair("g", &g), pair("h", &h), pair("i", &i))
			r0, r1, r2, r3, r4 := Ints(a, b, c, d, e, f, g, h, i)
			done(&r0, &r1, &r2, &r3, &r4)
		}
	},
	"Many": func() {
		for n := range 5 {
			a, b, c, d, e, f, g, h, i, j, k, l := n, -n, n*2, 3, 4, 5, 6, 7, 8, 1<<40+n, -1<<50, 11
			m, s, o := int8(-n), texts[n], uint16(65535-n)
			done := before(pair("a", &a), pair("b", &b), pair("h", &h), pair("i", &i), pair("j", &j), pair("k", &k), pair("l", &l), pair("m", &m), pair("n", &s), pair("o", &o))
			r0, r1 := Many(a, b, c, d, e, f, g, h, i, j, k, l, m, s, o)
			done(&r0, &r1)
		}
	},
	"Bools": func() {
		for n := range 4 {
			a, b, c, d, e, u := n&1 != 0, n&2 != 0, rune(0x1f600+n), byte(250+n), Level(n), uintptr(math.MaxUint64)
			done := before(pair("a", &a), pair("b", &b), pair("c", &c), pair("d", &d), pair("e", &e), pair("u", &u))
			r0 := Bools(a, b, c, d, e, u)
			done(&r0)
		}
	},
	"Strings": func() {
		for i, a := range texts {
			b := texts[(i+3)%len(texts)]
			done := before(pair("a", &a), pair("b", &b))
			r0, r1 := Strings(a, b)
			done(&r0, &r1)
		}
	},
	"Structs": func() {
		for i, s := range texts {
			p, m := Point{int32(i), -7}, Mixed{int8(-i), 1 << 60, s, i%2 == 0, 65535, 9, &Point{1, int32(i)}}
			if i%3 == 0 {
				m.P = nil
			}
			done := before(pair("p", &p), pair("m", &m))
			r0, r1 := Structs(p, m)
			done(&r0, &r1)
		}
	},
	"OnStack": func() {
		for i, s := range texts {
			at := time.Date(2026, 11, 24, 15, 5, i, i*1000, time.UTC)
			if i == 0 {
				at = time.Time{}
			}
			big, after := Big{i, s, [3]bool{true, false, i%2 == 0}, [2][3]int16{{1, 2, 3}, {-4, -5, int16(-i)}}, [2]string{"x", s}, Mixed{S: s}, []byte(s), at}, i*3
			done := before(pair("big", &big), pair("after", &after))
			r0, r1 := OnStack(big, after)
			done(&r0, &r1)
		}
	},
	"Pointers": func() {
		point, text := &Point{5, 6}, "pointed at"
		var none *Point
		for i, n := range []*Node{nil, node(1), node(1, 2), node(1, 2, 3, 4, 5)} {
			p, s := &point, &text
			if i == 1 {
				p, s = &none, nil
			}
			if i == 2 {
				p = nil
			}
			done := before(pair("n", &n), pair("p", &p), pair("s", &s))
			r0, r1 := Pointers(n, p, s)
			done(&r0, &r1)
		}
	},
	"Slices": func() {
		for n := range 5 {
			ints, strs, items, raw, ptrs, nested := []int32{}, []string{}, []Item{}, []byte{}, []*Item{}, [][]uint16{}
			for i := range n {
				ints, strs, raw = append(ints, int32(-i)), append(strs, texts[i]), append(raw, byte(255-i))
				item := Item{texts[i+1], int16(i), price(int64(i) << 40)}
				if i == 1 {
					item.Price = nil
				}
				items, ptrs, nested = append(items, item), append(ptrs, &item), append(nested, []uint16{uint16(i), 2, 3}[:i%3])
			}
			if n == 4 {
				ptrs[2], ints = nil, nil
			}
			done := before(pair("ints", &ints), pair("strs", &strs), pair("items", &items), pair("raw", &raw), pair("ptrs", &ptrs), pair("nested", &nested))
			r0, r1 := Slices(ints, strs, items, raw, ptrs, nested)
			done(&r0, &r1)
		}
	},
	"Arrays": func() {
		for n := range 3 {
			a, one, h, none, t := [4]int32{int32(n), -1, 2, -3}, [1]uint64{math.MaxUint64 - uint64(n)}, [32]byte{1, 2, 31: byte(n)}, [0]int{}, [2]Point{{1, 2}, {int32(n), 4}}
			done := before(pair("a", &a), pair("one", &one), pair("h", &h), pair("none", &none), pair("t", &t))
			r0 := Arrays(a, one, h, none, t)
			done(&r0)
		}
	},
	"Errors": func() {
		for kind := range 7 {
			done := before(pair("kind", &kind))
			r0, r1 := Errors(kind)
			done(&r0, &r1)
		}
	},
	"Anys": func() {
		square, rect := Square{3}, &Rect{2, 5, "room"}
		var none *Rect
		for i, v := range []any{nil, 7, int64(-1), "text", true, 3.5, Point{1, 2}, &Point{3, 4}, []string{"a", "b"}, rect, none, uint8(200), errors.New("e")} {
			var s Shape = square
			if i%3 == 1 {
				s = rect
			}
			if i%3 == 2 {
				s = nil
			}
			done := before(pair("v", &v), pair("s", &s))
			r0, r1 := Anys(v, s)
			done(&r0, &r1)
		}
	},
	"Blank": func() {
		for i, a := range texts {
			b := int64(i) << 33
			done := before(pair("a", &a), pair("b", &b))
			r0, r1 := Blank(1, a, true, b)
			done(&r0, &r1)
		}
	},
	"Times": func() {
		for _, t := range []time.Time{{}, time.Now(), time.Unix(0, 0), time.Date(1969, 7, 20, 20, 17, 40, 5, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)} {
			d := 1500 * time.Millisecond
			done := before(pair("t", &t), pair("d", &d))
			r0, r1 := Times(t, d)
			done(&r0, &r1)
		}
	},
	"Embedded": func() {
		for i := range 3 {
			d := Derived{Base{uint32(i), texts[i]}, &Point{int32(i), 2}, texts[:i]}
			p := &Derived{Base{7, "pointed"}, nil, nil}
			done := before(pair("d", &d), pair("p", &p))
			r0, r1 := Embedded(d, p)
			done(&r0, &r1)
		}
	},
	"Serve": func() {
		s := &Server{Name: "web", Hits: 1 << 63}
		for i, path := range texts {
			code := 200 + i
			done := before(pair("s", &s), pair("path", &path), pair("code", &code))
			r0, r1 := s.Serve(path, code)
			done(&r0, &r1)
		}
	},
	"Higher": func() {
		for i := range 4 {
			l, than := Level(i), Level(2)
			done := before(pair("l", &l), pair("than", &than))
			r0 := l.Higher(than)
			done(&r0)
		}
	},
	"Floats": func() {
		for _, a := range []float64{0, -1.5, math.Inf(1), math.NaN(), math.SmallestNonzeroFloat64} {
			n, b, p := 42, float32(a), &a
			done := before(pair("n", &n), pair("p", &p))
			_, r1 := Floats(a, n, b, p)
			done(&r1)
		}
	},
	"Maps": func() {
		for n := range 3 {
			m, k := map[string]int{}, map[int]string(nil)
			for i := range n * 20 {
				m[fmt.Sprint(i)] = i
			}
			lm, lk := len(m), len(k)
			done := before(pair("m", &lm), pair("n", &lk))
			r0 := Maps(m, k)
			done(&r0)
		}
	},
	"Generic": func() {
		for i := range 3 {
			v, key := Point{int32(i), 9}, texts[i+1]
			done := before(pair("v", &v), pair("key", &key))
			r0, r1 := Generic(v, key)
			done(&r0, &r1)
		}
	},
	"Recursive": func() { Recursive(6, "r") },
	"Panics": func() {
		for n := range 8 {
			Guarded(n)
		}
	},
	"Work": func() {
		var group sync.WaitGroup
		for id := range 400 {
			group.Add(1)
			go func() {
				defer group.Done()
				label, deep := fmt.Sprint("w", id), id%40
				done := before(pair("id", &id), pair("label", &label))
				r0, r1 := Work(id, label, deep)
				done(&r0, &r1)
			}()
		}
		group.Wait()
	},
}

func main() {
	commands := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for commands.Scan() {
		name := strings.TrimPrefix(commands.Text(), "run ")
		if run, known := scenarios[name]; known {
			run()
			fmt.Println(`"done"`)
		} else {
			fmt.Printf("%q\n", "unknown scenario "+name)
		}
	}
}
