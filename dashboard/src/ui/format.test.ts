import { expect, it } from "vitest";
import { behind, bytes, count, duration, exact, millis, rate, relative, short } from "./format";

it("writes numbers short and whole", () => {
  expect([0, 999, 9_999, 10_000, 34_567, 345_678, 1_234_567, 9.9e12].map(short)).toEqual(["0", "999", "9,999", "10.0 k", "34.6 k", "346 k", "1.23 M", "9.90 T"]);
  expect(count(1_234_567)).toBe("1,234,567");
  expect(bytes(1023)).toBe("1,023 B");
  expect(bytes(48_300_000)).toBe("46.1 MiB");
});

it("writes rates and times", () => {
  expect([0, 0.4, 9.94, 10.4, 2_000, 412_345].map(rate)).toEqual(["0", "0.4", "9.9", "10", "2,000", "412 k"]);
  expect([0, 59, 61, 600, 3_600, 11_520, 90_000].map(duration)).toEqual(["0 s", "59 s", "1 min 1 s", "10 min", "1 h", "3 h 12 min", "1 d 1 h"]);
  expect([0.04, 9.96, 75].map(behind)).toEqual(["0.0 s", "10.0 s", "1 min 15 s"]);
  expect([0.4, 12.3, 1_234, 75_000].map(millis)).toEqual(["0.4 ms", "12 ms", "1.2 s", "1 min 15 s"]);
  expect([0, 400, 4_000, -2_500].map((age) => relative(1_000_000 - age, 1_000_000))).toEqual(["now", "now", "4 s ago", "in 3 s"]);
  expect(exact(Date.UTC(2026, 0, 2, 3, 4, 5, 678))).toMatch(/^2026-01-0\d \d\d:\d\d:05\.678 [+-]\d\d:\d\d$/);
});

it("says that a value is not known", () => {
  for (const write of [count, short, rate, bytes, duration, behind, millis]) expect(write(null)).toBe("–");
  expect(exact(Number.NaN)).toBe("–");
});
