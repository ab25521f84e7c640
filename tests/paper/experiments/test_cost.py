import time

from svcca_lib.paper.experiments.cost import seconds


def test_seconds_are_the_least_of_each_work_after_what_warms_up():
    order = []

    def sleepy(*times):
        left = list(times)

        def work():
            order.append(len(left))
            time.sleep(left.pop(0))

        return work

    works = {"a": sleepy(0, 0, 0.2, 0.05), "b": sleepy(0.1, 0.1, 0.01, 0.2)}
    found = seconds(works, repeats=2, warm_up=2)
    assert 0.05 <= found["a"] < 0.2
    assert 0.01 <= found["b"] < 0.1
    assert order == [4, 4, 3, 3, 2, 2, 1, 1]  # in turn
