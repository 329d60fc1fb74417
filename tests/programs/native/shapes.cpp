// C++: namespaces, overloads, methods, references, classes that go by invisible reference; main calls them all.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#define NOINLINE __attribute__((noinline, noipa))

namespace shop {

enum class Level : std::uint8_t { Low = 1, High = 9 };

struct Base { int id; };

class Order : public Base {
  public:
    Order(int id, std::string name, Level level) : Base{id}, name_(std::move(name)), level_(level) {}
    NOINLINE std::int64_t total(int factor) const { return static_cast<std::int64_t>(prices_.size()) * factor + id; }
    NOINLINE void add(double price) { prices_.push_back(price); }
    NOINLINE static int count(int a) { return a + 1; }

  private:
    std::string name_;
    Level level_;
    std::vector<double> prices_;
};

NOINLINE int charge(const Order &order, Level level) { return order.id + static_cast<int>(level); }
NOINLINE int charge(int amount) { return amount * 2; }
NOINLINE std::string describe(std::string text, Order order) { return text + std::to_string(order.id); }
NOINLINE std::unique_ptr<int> boxed(int value) { return std::make_unique<int>(value); }

template <typename T> NOINLINE T largest(T a, T b) { return a > b ? a : b; }

}  // namespace shop

int main(int argc, char **) {
    shop::Order order(argc, "first", shop::Level::High);
    order.add(1.5);
    std::printf("%ld %d %d %d %s %d %ld %d\n", order.total(3), shop::charge(order, shop::Level::Low), shop::charge(argc),
                shop::Order::count(argc), shop::describe("order ", order).c_str(), shop::largest(argc, 7), shop::largest(3L, 5L),
                *shop::boxed(argc));
}
