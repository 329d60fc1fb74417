// Maps calls functions with maps of every size and says of each call what was in them; see tests/programs/values for the
// protocol. Maps with text keys are shown as objects, others as lists of pairs.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type item struct {
	Name string
	Next *item
}

type wide struct{ Words [40]uint64 }

//go:noinline
func small(m map[string]int, n map[int32]item, e map[string]struct{}) int { return len(m) + len(n) + len(e) }

//go:noinline
func large(m map[int]string, wides map[uint8]wide) int { return len(m) + len(wides) }

//go:noinline
func nested(m map[string][]string, p map[string]*item, all struct{ M map[string]map[string]bool }) map[string]int {
	return map[string]int{"all": len(m) + len(p) + len(all.M)}
}

type pair [2]any

func pairs[K comparable, V any](m map[K]V, show func(V) any) any {
	if m == nil {
		return nil
	}
	found := []pair{}
	for key, value := range m {
		found = append(found, pair{key, show(value)})
	}
	return found
}

func object[V any](m map[string]V, show func(V) any) any {
	if m == nil {
		return nil
	}
	found := map[string]any{}
	for key, value := range m {
		found[key] = show(value)
	}
	return found
}

func same[V any](v V) any { return v }

func (i item) shown() any { return map[string]any{"Name": i.Name, "Next": i.Next} }

func pointed(i *item) any {
	if i == nil {
		return nil
	}
	return i.shown()
}

func tell(arguments map[string]any, results ...any) {
	line, err := json.Marshal(map[string]any{"arguments": arguments, "results": results})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func run(asked string) {
	for _, size := range []int{-1, 0, 1, 5, 8, 9, 20, 300} {
		switch asked {
		case "small":
			var m map[string]int
			var n map[int32]item
			var e map[string]struct{}
			if size >= 0 && size <= 8 {
				m, n, e = map[string]int{}, make(map[int32]item, size), map[string]struct{}{}
				for i := 0; i < size; i++ {
					key := fmt.Sprint("key ", strings.Repeat("x", i))
					m[key], n[int32(-i)], e[key] = i<<40, item{key, nil}, struct{}{}
				}
				if size == 5 { // what was deleted is not there
					delete(m, "key ")
					delete(n, -1)
				}
			}
			r := small(m, n, e)
			tell(map[string]any{"m": object(m, same[int]), "n": pairs(n, func(i item) any { return i.shown() }), "e": object(e, same[struct{}])}, r)
		case "large":
			m, wides := map[int]string{}, map[uint8]wide{}
			for i := 0; i < size; i++ {
				m[i*7] = fmt.Sprint("value ", i)
				if i < 12 {
					wides[uint8(i)] = wide{[40]uint64{uint64(i), 1 << 63}}
				}
			}
			r := large(m, wides)
			tell(map[string]any{"m": pairs(m, same[string]), "wides": pairs(wides, func(w wide) any { return map[string]any{"Words": w.Words[:4]} })}, r)
		case "nested":
			m, p, all := map[string][]string{}, map[string]*item{}, map[string]map[string]bool{}
			for i := 0; i < size && i < 6; i++ {
				key := fmt.Sprint(i)
				m[key], p[key], all[key] = []string{key, "two"}[:i%3], &item{key, nil}, map[string]bool{key: i%2 == 0}
				if i == 2 {
					p[key], all[key] = nil, nil
				}
			}
			r := nested(m, p, struct{ M map[string]map[string]bool }{all})
			inner := func(m map[string]bool) any { return object(m, same[bool]) }
			tell(map[string]any{"m": object(m, same[[]string]), "p": object(p, pointed), "all": map[string]any{"M": object(all, inner)}}, object(r, same[int]))
		}
	}
}

func main() {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if asked, found := strings.CutPrefix(lines.Text(), "run "); found {
			run(asked)
		}
		fmt.Println(`"done"`)
	}
}
