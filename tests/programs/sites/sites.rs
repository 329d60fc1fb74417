//! One function for each way in which rustc begins one; see sites.c.
use std::hint::black_box;
use std::io::{self, BufRead, Write};

#[derive(Clone, Copy)]
pub struct Pair {
    pub x: i64,
    pub y: i64,
}

#[derive(Clone, Copy)]
pub struct Wide {
    pub values: [i64; 5],
    pub number: i64,
}

#[inline(never)]
pub fn other(n: i64) -> i64 {
    black_box(n) ^ 5
}
#[inline(never)]
pub fn leaf(a: i64, b: i64) -> i64 {
    a.wrapping_mul(3).wrapping_add(b)
}
#[inline(never)]
pub fn keeps(a: i64, text: &str) -> i64 {
    other(a) + text.len() as i64 + a
}
#[inline(never)]
pub fn early(a: i64, list: Option<&Pair>) -> i64 {
    match list {
        None => a,
        Some(pair) => {
            let mut sum = 0i64;
            for i in 0..3 {
                sum = sum.wrapping_add(other(pair.x + i)).wrapping_mul(other(pair.y)).wrapping_add(other(a));
            }
            sum
        }
    }
}
#[inline(never)]
pub fn loop_head(n: u64) -> u64 {
    let mut n = n;
    while n > 100 {
        n -= n / 3;
    }
    n
}
#[inline(never)]
pub fn recursive(n: i64) -> i64 {
    if n <= 0 {
        1
    } else {
        recursive(n - 1).wrapping_add(other(n))
    }
}
#[inline(never)]
pub fn many(a: i64, b: i64, c: i64, d: i64, e: i64, f: i64, g: i64, h: i64) -> i64 {
    other(a + b) + c + d + e + f + g + other(h)
}
#[inline(never)]
pub fn by_value(w: Wide, after: i32) -> i64 {
    other(w.values[0]) + w.values[1] + w.number + after as i64
}
#[inline(never)]
pub fn writes_first(p: &mut Pair, v: i64) -> i64 {
    p.x = v;
    if v > 3 {
        p.y = other(v);
    }
    p.y
}
#[inline(never)]
pub fn large_frame(n: usize, b: i64) -> i64 {
    let mut room = [0i64; 4000];
    room[n] = b;
    black_box(&mut room);
    other(room[n]) + n as i64
}
#[inline(never)]
pub fn narrow(a: i8, b: u16, c: u8, d: i32) -> i32 {
    if a == 5 {
        b as i32
    } else if c > 9 {
        other(d as i64) as i32
    } else {
        a as i32 + d
    }
}
#[inline(never)]
pub fn chosen(n: i32, b: i64) -> i64 {
    match n {
        0 => other(b),
        1 => b * 2,
        2 => other(other(b)),
        3 => other(b) - 1,
        4 => b % 7,
        _ => 0,
    }
}
#[inline(never)]
pub fn calls_first(a: i64, b: i64) -> i64 {
    black_box(other(1));
    a - b
}

struct Numbers(u64);

impl Numbers {
    fn any(&mut self) -> i64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as i64) % 41 - 20
    }
}

fn run(asked: &str, out: &mut impl Write) -> io::Result<()> {
    let mut numbers = Numbers(black_box(42));
    for round in 0..6i64 {
        let (a, b, c, d) = (numbers.any(), numbers.any(), numbers.any(), numbers.any());
        let text = ["", "a", "hello", "several words of it", "x", "yz"][round as usize];
        let mut p = Pair { x: a, y: b };
        let w = Wide { values: [a, b, c, d, 5], number: 6 };
        match asked {
            "leaf" => { let r = leaf(a, b); writeln!(out, r#"{{"arguments": {{"a": {a}, "b": {b}}}, "result": {r}}}"#)? }
            "keeps" => { let r = keeps(a, text); writeln!(out, r#"{{"arguments": {{"a": {a}, "text": "{text}"}}, "result": {r}}}"#)? }
            "early" => {
                let given = round % 2 == 1;
                let r = early(a, if given { Some(&p) } else { None });
                writeln!(out, r#"{{"arguments": {{"a": {a}}}, "result": {r}}}"#)?
            }
            "loop_head" => { let n = (a * a * 9) as u64; let r = loop_head(n); writeln!(out, r#"{{"arguments": {{"n": {n}}}, "result": {r}}}"#)? }
            "recursive" => {
                if round == 0 {
                    recursive(7);
                    for n in (0..=7).rev() {
                        writeln!(out, r#"{{"arguments": {{"n": {n}}}, "result": null}}"#)?
                    }
                }
            }
            "many" => {
                let r = many(a, b, c, d, a + 1, b + 1, c + 1, d + 1);
                writeln!(out, r#"{{"arguments": {{"a": {a}, "b": {b}, "c": {c}, "d": {d}, "e": {}, "f": {}, "g": {}, "h": {}}}, "result": {r}}}"#, a + 1, b + 1, c + 1, d + 1)?
            }
            "by_value" => {
                let r = by_value(w, c as i32);
                writeln!(out, r#"{{"arguments": {{"w": {{"values": [{a}, {b}, {c}, {d}, 5], "number": 6}}, "after": {c}}}, "result": {r}}}"#)?
            }
            "writes_first" => { let r = writes_first(&mut p, c); writeln!(out, r#"{{"arguments": {{"p": {{"x": {a}, "y": {b}}}, "v": {c}}}, "result": {r}}}"#)? }
            "large_frame" => { let n = round * 600; let r = large_frame(n as usize, b); writeln!(out, r#"{{"arguments": {{"n": {n}, "b": {b}}}, "result": {r}}}"#)? }
            "narrow" => {
                let (e, f, g, h) = (a as i8, b as u16, c as u8, d as i32);
                let r = narrow(e, f, g, h);
                writeln!(out, r#"{{"arguments": {{"a": {e}, "b": {f}, "c": {g}, "d": {h}}}, "result": {r}}}"#)?
            }
            "chosen" => { let n = round as i32; let r = chosen(n, b); writeln!(out, r#"{{"arguments": {{"n": {n}, "b": {b}}}, "result": {r}}}"#)? }
            "calls_first" => { let r = calls_first(a, b); writeln!(out, r#"{{"arguments": {{"a": {a}, "b": {b}}}, "result": {r}}}"#)? }
            _ => {}
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        if let Some(asked) = line?.strip_prefix("run ") {
            run(asked, &mut out)?;
        }
        writeln!(out, "\"done\"")?;
        out.flush()?;
    }
    Ok(())
}
