"""Whether the interval of `radapt labels` holds the number of patients, on hidden continuations of learning curves.

    python benchmarks/label_price.py [--curves 200] [--seed 0]

Each curve is a power law with a random asymptote, exponent and noise, seen at 8 to 64 labelled patients. The target is
its value at 2, 4 or 8 times the largest number. Saturating curves are exponential, which no power law is. Prints how
often the interval holds that number, how often it lies above and below, and the median of its ends.
"""

import argparse

import numpy as np

from radapt.metrics.label_price import label_price

SIZES = np.array([8.0, 16.0, 32.0, 64.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| curve | more labels | interval holds the number | lies above | lies below | median interval |")
    print("|---|---|---|---|---|---|")
    for name in ("power law", "saturating"):
        for times in (2, 4, 8):
            rng, held, ends = np.random.default_rng([given.seed, times]), [], []
            for _ in range(given.curves):
                a, rate = rng.uniform(0.75, 0.98), rng.uniform(0.2, 1.0)
                b = rng.uniform(0.1, 0.35) / SIZES[0] ** -rate
                error, hidden = rng.uniform(0.008, 0.03), SIZES[-1] * times

                every = np.append(SIZES, hidden)
                fall = b * every**-rate if name == "power law" else 0.3 * np.exp(-rate * every / 60)
                values = a - fall
                seen = values[:-1] + error * rng.normal(size=len(SIZES))
                found = label_price(SIZES, seen, np.full(len(SIZES), error), float(values[-1]))
                held.append((found.low <= hidden <= found.high, found.low > hidden, found.high < hidden))
                ends.append((found.low, found.high))
            shares = " | ".join(f"{100 * share:.1f} %" for share in np.mean(held, axis=0))
            low, high = np.median(ends, axis=0)
            print(f"| {name} | {times} × {SIZES[-1]:.0f} | {shares} | {low:.0f} to {high:.0f} |", flush=True)


if __name__ == "__main__":
    main()
