//! Rust: strings, slices, enums with data, options, references, results; main calls them all.

#[derive(Clone, Debug)]
pub enum Command {
    Quit,
    Move { x: i32, y: i64 },
    Write(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
pub enum Level {
    Low = 1,
    High = 9,
}

#[derive(Debug)]
pub struct Order {
    pub id: u64,
    pub name: String,
    pub tags: Vec<u32>,
    pub level: Level,
}

#[inline(never)]
pub fn integers(a: i8, b: u16, c: char, d: bool, e: i64) -> i64 {
    i64::from(a) + i64::from(b) + c as i64 + i64::from(d) + e
}

#[inline(never)]
pub fn texts(name: &str, numbers: &[u32]) -> usize {
    name.len() + numbers.iter().map(|n| *n as usize).sum::<usize>()
}

#[inline(never)]
pub fn run(command: &Command, times: u32) -> u32 {
    match command {
        Command::Quit => 0,
        Command::Move { x, y } => (*x as i64 + *y) as u32 * times,
        Command::Write(text) => text.len() as u32 * times,
    }
}

#[inline(never)]
pub fn find(order: &Order, id: u64) -> Option<&Order> {
    if order.id == id { Some(order) } else { None }
}

#[inline(never)]
pub fn parse(text: &str) -> Result<u32, String> {
    text.parse::<u32>().map_err(|e| e.to_string())
}

impl Order {
    #[inline(never)]
    pub fn rename(&mut self, name: &str) -> &str {
        self.name = name.to_owned();
        &self.name
    }

    #[inline(never)]
    pub fn rank(&self, level: Level, extra: Option<u32>) -> u32 {
        level as u32 + extra.unwrap_or(0) + self.tags.len() as u32
    }
}

fn main() {
    let n = std::env::args().count();
    let mut order = Order { id: n as u64, name: "first".into(), tags: vec![1, 2], level: Level::High };
    let seen = std::hint::black_box(n as i64);
    println!("{} {}", integers(-(seen as i8), 2, 'x', seen > 0, seen), texts(&"hello"[..n], &[1, 2, 3][..n]));
    for c in [Command::Quit, Command::Move { x: 1, y: 2 }, Command::Write("abc".into())] {
        println!("{}", run(&c, n as u32 + 2));
    }
    println!("{:?} {:?} {:?}", find(&order, 1).map(|o| o.id), parse(&"12"[..n]), parse("x").is_err());
    println!("{}", order.rename(&"second"[..n]));
    println!("{} {:?}", order.rank(Level::Low, Some(3)), order.level);
}
