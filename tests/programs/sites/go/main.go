// Sites has one function for each way in which Go begins one; see sites.c. It uses little of the standard library, so that
// any release compiles it soon.
package main

import (
	"bufio"
	"os"
	"strconv"
)

type pair struct{ X, Y int }

type wide struct {
	Values [5]int
	Name   string
}

type shape interface{ area(scale int) int }

type square struct{ Side int }

var sink int

//go:noinline
func other(n int) int { sink += n; return n ^ 5 }

//go:noinline
func leaf(a, b int) int { return a*3 + b }

//go:noinline
func keeps(a int, text string) int { return other(a) + len(text) + a }

//go:noinline
func callsFirst(a, b int) int { other(1); return a - b }

//go:noinline
func early(a int, p *pair) int {
	if p == nil {
		return a
	}
	sum := 0
	for i := 0; i < 3; i++ {
		sum += other(p.X+i)*other(p.Y) + other(a)
	}
	return sum
}

//go:noinline
func loopHead(n uint) uint {
	for n > 100 {
		n -= n / 3
	}
	return n
}

//go:noinline
func recursive(n int) int {
	if n <= 0 {
		return 1
	}
	return recursive(n-1) + other(n)
}

//go:noinline
func many(a, b, c, d, e, f, g, h, i, j, k int) int { return other(a+b) + c + d + e + f + g + h + i + j + other(k) }

//go:noinline
func byValue(w wide, after int) int { w.Values[1] += after; return other(w.Values[0]) + w.Values[1] }

//go:noinline
func smallValue(p pair, after int) (int, pair) { return other(p.X) + p.Y + after, pair{p.Y, p.X} }

//go:noinline
func writesFirst(p *pair, v int) int {
	p.X = v
	if v > 3 {
		p.Y = other(v)
	}
	return p.Y
}

//go:noinline
func middleFrame(n, b int) int {
	var room [40]int
	for i := range room {
		room[i] = b * i
	}
	return other(room[n]) + n
}

//go:noinline
func largeFrame(n, b int) int {
	var room [4000]int
	for i := range room {
		room[i] = b * i
	}
	return other(room[n]) + n
}

//go:noinline
func hugeFrame(n, b int) int {
	var room [40000]int
	for i := range room {
		room[i] = b + i
	}
	return other(room[n]) + n
}

//go:noinline
func narrow(a int8, b uint16, c uint8, d int32) int32 {
	if a == 5 {
		return int32(b)
	}
	if c > 9 {
		return int32(other(int(d)))
	}
	return int32(a) + d
}

//go:noinline
func chosen(n, b int) int {
	switch n {
	case 0:
		return other(b)
	case 1:
		return b * 2
	case 2:
		return other(other(b))
	case 3:
		return other(b) - 1
	}
	return 0
}

//go:noinline
func deferred(a, b int) (out int) {
	defer func() { out += other(a) }()
	return b
}

//go:noinline
func recovered(a, b int) (out int) {
	defer func() {
		if recover() != nil {
			out = a
		}
	}()
	if b < 0 {
		panic("negative")
	}
	return other(b)
}

//go:noinline
func (s *square) grown(by int) int { s.Side += by; return s.Side }

//go:noinline
func (s square) area(scale int) int { return other(s.Side) * scale }

//go:noinline
func variadic(first int, rest ...int) int {
	for _, each := range rest {
		first += each
	}
	return first
}

//go:noinline
func interfaces(s shape, n int) int { return s.area(n) }

//go:noinline
func floats(a float64, n int) float64 {
	if n > 2 {
		return a * float64(other(n))
	}
	return a
}

//go:noinline
func generic[T any](v T, n int) (T, int) { return v, other(n) }

//go:noinline
func texts(a, b string) string { return b + a }

//go:noinline
func deep(n, depth int) int {
	if n == 0 {
		return grown(depth, 2)
	}
	return deep(n-1, depth) + 1
}

// grown is called where the stack has to grow: its first instructions run twice.
//
//go:noinline
func grown(a, b int) int { return other(a) + b }

var out = bufio.NewWriter(os.Stdout)

func quoted(text string) string { return `"` + text + `"` }

func told(result string, arguments ...any) {
	out.WriteString(`{"arguments": {`)
	for i := 0; i < len(arguments); i += 2 {
		if i > 0 {
			out.WriteString(", ")
		}
		out.WriteString(`"` + arguments[i].(string) + `": `)
		switch value := arguments[i+1].(type) {
		case int:
			out.WriteString(strconv.Itoa(value))
		case string:
			out.WriteString(value)
		}
	}
	out.WriteString(`}, "result": ` + result + "}\n")
}

func object(p pair) string { return `{"X": ` + strconv.Itoa(p.X) + `, "Y": ` + strconv.Itoa(p.Y) + `}` }

var seed uint64

func anyNumber() int {
	seed = seed*6364136223846793005 + 1442695040888963407
	return int(seed>>33)%41 - 20
}

func run(asked string) {
	seed = 42
	say := strconv.Itoa
	for round := 0; round < 6; round++ {
		a, b, c, d := anyNumber(), anyNumber(), anyNumber(), anyNumber()
		text := []string{"", "a", "hello", "several words of it", "x", "yz"}[round]
		p, w := pair{a, b}, wide{[5]int{a, b, c, d, 5}, "wide name"}
		switch asked {
		case "leaf":
			told(say(leaf(a, b)), "a", a, "b", b)
		case "keeps":
			told(say(keeps(a, text)), "a", a, "text", quoted(text))
		case "callsFirst":
			told(say(callsFirst(a, b)), "a", a, "b", b)
		case "early":
			given, shown := &p, object(p)
			if round%2 == 0 {
				given, shown = nil, "null"
			}
			told(say(early(a, given)), "a", a, "p", shown)
		case "loopHead":
			told(say(int(loopHead(uint(a*a*9)))), "n", a*a*9)
		case "recursive":
			if round == 0 {
				recursive(7)
				for n := 7; n >= 0; n-- {
					told("null", "n", n)
				}
			}
		case "many":
			r := many(a, b, c, d, a+1, b+1, c+1, d+1, a+2, b+2, c+2)
			told(say(r), "a", a, "b", b, "c", c, "d", d, "e", a+1, "f", b+1, "g", c+1, "h", d+1, "i", a+2, "j", b+2, "k", c+2)
		case "byValue":
			values := "[" + say(a) + ", " + say(b) + ", " + say(c) + ", " + say(d) + ", 5]"
			told(say(byValue(w, c)), "w", `{"Values": `+values+`, "Name": "wide name"}`, "after", c)
		case "smallValue":
			r, _ := smallValue(p, c)
			told(say(r), "p", object(p), "after", c)
		case "writesFirst":
			before := object(p)
			told(say(writesFirst(&p, c)), "p", before, "v", c)
		case "middleFrame":
			told(say(middleFrame(round, b)), "n", round, "b", b)
		case "largeFrame":
			told(say(largeFrame(round*600, b)), "n", round*600, "b", b)
		case "hugeFrame":
			told(say(hugeFrame(round*6000, b)), "n", round*6000, "b", b)
		case "narrow":
			e, f, g, h := int8(a), uint16(b), uint8(c), int32(d)
			told(say(int(narrow(e, f, g, h))), "a", int(e), "b", int(f), "c", int(g), "d", int(h))
		case "chosen":
			told(say(chosen(round, b)), "n", round, "b", b)
		case "deferred":
			told(say(deferred(a, b)), "a", a, "b", b)
		case "recovered":
			r := recovered(a, b)
			if b < 0 {
				told("null", "a", a, "b", b) // its return is of no RET of its own in every release
			} else {
				told(say(r), "a", a, "b", b)
			}
		case "(*square).grown":
			s := square{a}
			told(say(s.grown(b)), "s", `{"Side": `+say(a)+`}`, "by", b)
		case "square.area":
			told(say(square{a}.area(b)), "s", `{"Side": `+say(a)+`}`, "scale", b)
		case "variadic":
			told(say(variadic(a, b, c, d)), "first", a, "rest", "["+say(b)+", "+say(c)+", "+say(d)+"]")
		case "interfaces":
			told(say(interfaces(square{a}, b)), "n", b)
		case "floats":
			floats(float64(a), b)
			told("null", "n", b)
		case "generic":
			generic(text, b)
			told("null", "v", quoted(text), "n", b)
		case "texts":
			told(quoted(texts(text, "b")), "a", quoted(text), "b", quoted("b"))
		case "grown":
			done := make(chan int)
			for each := 0; each < 60; each++ { // a new stack each, filled to another depth
				n := each + 60*round
				go func() { done <- deep(n, n) }()
				<-done
				told(say(other(n)+2), "a", n, "b", 2)
			}
		}
	}
}

func main() {
	out.WriteString("ready\n")
	out.Flush()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if line := lines.Text(); len(line) > 4 && line[:4] == "run " {
			run(line[4:])
		}
		out.WriteString("\"done\"\n")
		out.Flush()
	}
}
