//! Calls functions with Rust's own kinds of argument; the values stand in the test. "run NAME" on standard input.
use std::hint::black_box;
use std::io::{self, BufRead, Write};

pub struct Point { pub x: i32, pub y: i32 }

pub enum Shape { Empty, Circle(u32), Named { id: u16, at: Point }, Text(&'static str) }

#[derive(Clone, Copy)]
pub enum Level { Low = 1, High = 200 }

pub struct Wrapper(pub u64, pub bool);

#[inline(never)]
#[no_mangle]
pub fn texts(a: &str, n: usize, c: char) -> usize { black_box(a.len() + n + c as usize) }

#[inline(never)]
#[no_mangle]
pub fn slices(a: &[i32], b: &[u8], p: &[Point]) -> usize { black_box(a.len() + b.len() + p.len()) }

#[inline(never)]
#[no_mangle]
pub fn shapes(s: &Shape, o: Option<u32>, b: Option<&Point>, l: Level) -> u32 {
    black_box(match s { Shape::Empty => 0, Shape::Circle(r) => *r, Shape::Named { id, at } => *id as u32 + at.x as u32, Shape::Text(t) => t.len() as u32 }
        + o.unwrap_or(0) + b.map_or(0, |p| p.y as u32) + l as u32)
}

#[inline(never)]
#[no_mangle]
pub fn wide(a: u128, w: Wrapper, t: (i16, bool)) -> i64 { black_box(a as i64 + w.0 as i64 + t.0 as i64) }

fn run(name: &str) {
    let p = Point { x: -1, y: 7 };
    match name {
        "texts" => for (t, n, c) in [("", 0, 'a'), ("héllo", 1 << 40, '☃'), ("𝄞", 3, '𝄞')] { texts(black_box(t), n, c); },
        "slices" => {
            slices(black_box(&[]), &[], &[]);
            slices(black_box(&[1, -2, 3]), b"\x00\xff", &[Point { x: 1, y: 2 }, Point { x: 3, y: 4 }]);
        }
        "shapes" => {
            shapes(black_box(&Shape::Empty), None, None, black_box(Level::Low));
            shapes(black_box(&Shape::Circle(9)), Some(5), Some(&p), black_box(Level::High));
            shapes(black_box(&Shape::Named { id: 65535, at: Point { x: 2, y: 3 } }), Some(0), None, Level::Low);
            shapes(black_box(&Shape::Text("hi")), None, Some(&p), Level::High);
        }
        "wide" => {
            wide(u128::MAX - 1, Wrapper(u64::MAX, true), (-5, true));
            wide(7, Wrapper(0, false), (300, false));
        }
        _ => {}
    }
}

fn main() {
    println!("ready");
    for line in io::stdin().lock().lines() {
        run(line.unwrap().trim_start_matches("run "));
        println!("\"done\"");
        io::stdout().flush().unwrap();
    }
}
