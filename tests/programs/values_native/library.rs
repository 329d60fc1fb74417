//! Calls functions with the standard library's texts and lists, and says of each call what it passed; see library.cpp.
use std::hint::black_box;
use std::io::{self, BufRead, Write};

pub struct Point { pub x: i32, pub y: i16 }

pub enum Shape { Empty, Named(String), Path { points: Vec<Point>, closed: bool } }

pub struct Order { pub name: String, pub tags: Vec<String>, pub at: Option<Box<Point>>, pub shape: Shape }

#[inline(never)]
#[no_mangle]
pub fn texts(s: String, r: &String, b: Box<str>, o: Option<String>) -> usize {
    black_box(s.len() + r.len() + b.len() + o.map_or(0, |t| t.len()))
}

#[inline(never)]
#[no_mangle]
pub fn lists(v: Vec<i64>, p: &Vec<Point>, t: &[String], raw: Vec<u8>) -> usize { black_box(v.len() + p.len() + t.len() + raw.len()) }

#[inline(never)]
#[no_mangle]
pub fn orders(order: &Order, shape: Shape) -> usize {
    black_box(order.tags.len() + match shape { Shape::Empty => 0, Shape::Named(n) => n.len(), Shape::Path { points, closed } => points.len() + closed as usize })
}

#[inline(never)]
#[no_mangle]
pub fn panics(n: i64) -> i64 {
    if black_box(n) % 2 == 1 {
        panic!("odd");
    }
    n * 10
}

fn quoted(text: &str) -> String { format!("\"{text}\"") }
fn point(p: &Point) -> String { format!(r#"{{"x": {}, "y": {}}}"#, p.x, p.y) }
fn all<T>(items: &[T], each: impl Fn(&T) -> String) -> String { format!("[{}]", items.iter().map(each).collect::<Vec<_>>().join(", ")) }
fn shape(s: &Shape) -> String {
    match s {
        Shape::Empty => r#"{"variant": "Empty"}"#.into(),
        Shape::Named(n) => format!(r#"{{"variant": "Named", "__0": "{n}"}}"#),
        Shape::Path { points, closed } => format!(r#"{{"variant": "Path", "points": {}, "closed": {closed}}}"#, all(points, point)),
    }
}
fn made(i: usize) -> Shape {
    match i % 3 {
        0 => Shape::Empty,
        1 => Shape::Named("n".repeat(i)),
        _ => Shape::Path { points: (0..i).map(|j| Point { x: j as i32, y: -1 }).collect(), closed: i == 2 },
    }
}

fn run(asked: &str, out: &mut impl Write) -> io::Result<()> {
    for i in 0..5usize {
        let (small, large) = ("a".repeat(i), "bé".repeat(i * 9 + 1));
        let tags: Vec<String> = (0..i).map(|j| if j % 2 == 0 { small.clone() } else { large.clone() }).collect();
        match asked {
            "texts" => {
                let o = if i % 2 == 0 { None } else { Some(large.clone()) };
                let shown = o.as_deref().map_or(r#"{"variant": "None"}"#.into(), |t| format!(r#"{{"variant": "Some", "__0": "{t}"}}"#));
                let r = texts(black_box(small.clone()), &large, black_box(large.clone()).into_boxed_str(), o);
                writeln!(out, r#"{{"arguments": {{"s": {}, "r": {}, "b": {}, "o": {shown}}}, "results": [{r}]}}"#, quoted(&small), quoted(&large), quoted(&large))?;
            }
            "lists" => {
                let v: Vec<i64> = (0..i as i64).map(|j| -j << 40).collect();
                let p: Vec<Point> = (0..i).map(|j| Point { x: j as i32 - 2, y: 7 }).collect();
                let raw: Vec<u8> = (0..i as u8).map(|j| 255 - j).collect();
                let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
                let shown = (all(&v, |n| n.to_string()), all(&p, point), all(&tags, |t| quoted(t)));
                let r = lists(black_box(v), &p, &tags, black_box(raw));
                writeln!(out, r#"{{"arguments": {{"v": {}, "p": {}, "t": {}, "raw": "{hex}"}}, "results": [{r}]}}"#, shown.0, shown.1, shown.2)?;
            }
            "orders" => {
                let at = if i % 2 == 0 { None } else { Some(Box::new(Point { x: i as i32, y: 3 })) };
                let shown = at.as_deref().map_or(r#"{"variant": "None"}"#.into(), |p| format!(r#"{{"variant": "Some", "__0": {}}}"#, point(p)));
                let order = Order { name: small.clone(), tags, at, shape: made(i + 1) };
                let given = made(i);
                let told = shape(&given);
                let r = orders(black_box(&order), black_box(given));
                writeln!(
                    out,
                    r#"{{"arguments": {{"order": {{"name": {}, "tags": {}, "at": {shown}, "shape": {}}}, "shape": {told}}}, "results": [{r}]}}"#,
                    quoted(&small), all(&order.tags, |t| quoted(t)), shape(&order.shape)
                )?;
            }
            "panics" => {
                let r = std::panic::catch_unwind(|| panics(i as i64)).ok().map_or("null".into(), |r| r.to_string());
                writeln!(out, r#"{{"arguments": {{"n": {i}}}, "results": [{r}]}}"#)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::stdout();
    writeln!(out, "ready")?;
    for line in io::stdin().lock().lines() {
        run(line?.trim_start_matches("run "), &mut out)?;
        writeln!(out, "\"done\"")?;
        out.flush()?;
    }
    Ok(())
}
