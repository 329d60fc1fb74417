// Library calls functions with the standard library's texts, lists and owners, and says of each call what it passed; see
// values.c for the protocol. Text is ASCII here: what the bytes of a text are is values.c's business.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#define OUTSIDE __attribute__((noinline))

struct Point { int x; short y; };
struct Order {
    std::string name;
    std::vector<Point> points;
    std::vector<std::string> tags;
    std::optional<int> priority;
    std::unique_ptr<Point> at;
    std::shared_ptr<std::string> note;
    std::array<short, 3> sizes;
};
enum class Level : std::uint8_t { Low = 1, High = 200 };
enum Color { Red, Green = 5 };

static volatile long sink;

OUTSIDE std::string texts(std::string s, const std::string &r, std::string *p, std::string_view v) {
    sink += static_cast<long>(s.size() + r.size() + v.size()) + (p != nullptr);
    return s + r;
}
OUTSIDE int lists(const std::vector<int> &ints, std::vector<std::string> strings, const std::vector<Point> *points) {
    sink += static_cast<long>(ints.size() + strings.size());
    return points == nullptr ? -1 : static_cast<int>(points->size());
}
OUTSIDE int owners(std::unique_ptr<Point> u, const std::shared_ptr<Point> &s, std::optional<int> o, const std::optional<std::string> &t) {
    sink += (u ? u->x : 0) + (s ? s->y : 0) + o.value_or(3);
    return t ? static_cast<int>(t->size()) : -1;
}
OUTSIDE int orders(const Order &order, Level level, Color color) {
    return static_cast<int>(order.points.size()) + static_cast<int>(level) + color;
}
OUTSIDE int throws(int n) {
    if (n % 2) throw n;
    sink += n;
    return n * 10;
}

static std::string quoted(const std::string &text) { return "\"" + text + "\""; }
static std::string shown(const Point &p) { return "{\"x\": " + std::to_string(p.x) + ", \"y\": " + std::to_string(p.y) + "}"; }
template <class T, class F> std::string shown(const T &items, F &&each) {
    std::string out;
    for (const auto &item : items) out += (out.empty() ? "" : ", ") + each(item);
    return "[" + out + "]";
}
static void told(const std::string &arguments, const std::string &result) {
    std::cout << "{\"arguments\": {" << arguments << "}, \"results\": [" << result << "]}\n";
}

static void run(const std::string &asked) {
    auto number = [](int n) { return std::to_string(n); };
    auto point = [](const Point &p) { return shown(p); };
    for (int i = 0; i < 5; i++) {
        std::string small(static_cast<size_t>(i), 'a'), large(static_cast<size_t>(i) * 40 + 16, 'b'), r = i % 2 ? small : large;
        std::vector<Point> points;
        for (int j = 0; j < i; j++) points.push_back({j - 2, static_cast<short>(j * 7)});
        std::vector<std::string> tags;
        for (int j = 0; j < i; j++) tags.push_back(j % 2 ? large : small);
        if (asked == "texts") {
            std::string *p = i == 2 ? nullptr : &large;
            std::string out = texts(small, r, p, std::string_view(large).substr(1, static_cast<size_t>(i)));
            told("\"s\": " + quoted(small) + ", \"r\": " + quoted(r) + ", \"p\": " + (p ? quoted(large) : "null") + ", \"v\": " +
                     quoted(large.substr(1, static_cast<size_t>(i))),
                 quoted(out));
        } else if (asked == "lists") {
            std::vector<int> ints;
            for (int j = 0; j < i; j++) ints.push_back(j * -1000);
            const std::vector<Point> *given = i == 1 ? nullptr : &points;
            int out = lists(ints, tags, given);
            told("\"ints\": " + shown(ints, number) + ", \"strings\": " + shown(tags, quoted) + ", \"points\": " +
                     (given ? shown(points, point) : "null"),
                 number(out));
        } else if (asked == "owners") {
            Point p{i, 3}, q{-i, 4};
            bool with = i % 2;
            std::optional<int> o;
            if (i > 2) o = i;
            std::optional<std::string> t;
            if (with) t = large;
            int out = owners(with ? std::make_unique<Point>(p) : nullptr, with ? nullptr : std::make_shared<Point>(q), o, t);
            told("\"u\": " + (with ? shown(p) : "null") + ", \"s\": " + (with ? "null" : shown(q)) + ", \"o\": " +
                     (o ? number(i) : "null") + ", \"t\": " + (with ? quoted(large) : "null"),
                 number(out));
        } else if (asked == "orders") {
            Order order{small, points, tags, std::nullopt, nullptr, nullptr, {1, 2, static_cast<short>(i)}};
            if (i % 2) {
                order.priority = i;
                order.at = std::make_unique<Point>(Point{i, i == 3 ? short{9} : short{1}});
                order.note = std::make_shared<std::string>(large);
            }
            Level level = i == 4 ? static_cast<Level>(9) : i % 2 ? Level::High : Level::Low;
            Color color = i % 2 ? Green : Red;
            int out = orders(order, level, color);
            told("\"order\": {\"name\": " + quoted(small) + ", \"points\": " + shown(points, point) + ", \"tags\": " + shown(tags, quoted) +
                     ", \"priority\": " + (i % 2 ? number(i) : "null") + ", \"at\": " + (i % 2 ? shown(*order.at) : "null") +
                     ", \"note\": " + (i % 2 ? quoted(large) : "null") + ", \"sizes\": [1, 2, " + number(i) + "]}, \"level\": " +
                     (i == 4 ? "\"9\"" : i % 2 ? "\"High\"" : "\"Low\"") + ", \"color\": " + (i % 2 ? "\"Green\"" : "\"Red\""),
                 number(out));
        } else if (asked == "throws") {
            try {
                told("\"n\": " + number(i), number(throws(i)));
            } catch (int n) {
                told("\"n\": " + number(n), "null");
            }
        }
    }
}

int main() {
    std::cout << "ready" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        if (line.rfind("run ", 0) == 0) run(line.substr(4));
        std::cout << "\"done\"" << std::endl;
    }
}
