"""Peak memory of a process that a test starts."""

# Source for `python -c`. `getrusage` would do, did it not count the peak of the process that
# started this one: Linux hands that over when the program is replaced.
PEAK = """
def peak():
    with open("/proc/self/status", encoding="ascii") as status:
        return int(status.read().split("VmHWM:")[1].split()[0]) * 1024
"""
