module probegate.test/bench/calls

go 1.21
