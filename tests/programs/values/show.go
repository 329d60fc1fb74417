package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"
)

// show says exactly what a value is, as far down as a tracer with maxDepth would follow it: text as {"$s": hex bytes},
// floats as {"$f": hex bits}, what is deeper as {"$deep": true}.
func show(value reflect.Value, depth int) any {
	if !value.IsValid() {
		return nil
	}
	switch value.Kind() {
	case reflect.Bool:
		return value.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return json.Number(fmt.Sprint(value.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return json.Number(fmt.Sprint(value.Uint()))
	case reflect.Float32:
		return map[string]any{"$f": fmt.Sprintf("%08x", math.Float32bits(float32(value.Float())))}
	case reflect.Float64:
		return map[string]any{"$f": fmt.Sprintf("%016x", math.Float64bits(value.Float()))}
	case reflect.String:
		return map[string]any{"$s": hex.EncodeToString([]byte(value.String()))}
	case reflect.Pointer:
		if value.IsNil() {
			return nil
		}
		if depth == 0 {
			return map[string]any{"$deep": true}
		}
		return show(value.Elem(), depth-1)
	case reflect.Slice, reflect.Array:
		return list(value, depth)
	case reflect.Struct:
		if at, ok := moment(value); ok {
			return map[string]any{"$s": hex.EncodeToString([]byte(at.UTC().Format(time.RFC3339Nano)))}
		}
		object := map[string]any{}
		for i := range value.NumField() {
			if name := value.Type().Field(i).Name; name != "_" {
				object[name] = show(value.Field(i), depth)
			}
		}
		return object
	case reflect.Interface:
		if value.IsNil() {
			return nil
		}
		inner := value.Elem()
		object := map[string]any{"type": inner.Type().String()}
		if inner.Kind() == reflect.Pointer {
			object["value"] = show(inner, depth)
		} else {
			object["value"] = show(inner, depth-1)
		}
		return object
	}
	return map[string]any{"$kind": value.Kind().String()}
}

func list(value reflect.Value, depth int) any {
	if value.Type().Elem().Kind() == reflect.Uint8 {
		raw := make([]byte, value.Len())
		for i := range raw {
			raw[i] = byte(value.Index(i).Uint())
		}
		return hex.EncodeToString(raw)
	}
	if value.Kind() == reflect.Slice {
		depth--
	}
	items := []any{}
	for i := range value.Len() {
		items = append(items, show(value.Index(i), depth))
	}
	return items
}

func moment(value reflect.Value) (time.Time, bool) {
	if value.Type() != reflect.TypeFor[time.Time]() {
		return time.Time{}, false
	}
	copied := reflect.New(value.Type()).Elem()
	if value.CanInterface() {
		copied.Set(value)
	}
	return copied.Interface().(time.Time), value.CanInterface()
}
