import { expect, it } from "vitest";
import type { History } from "../../api/types";
import type { Point } from "../../live/store";
import { lines } from "./series";

const history = (step_ms: number, points: number): History => {
  const ones = Array.from({ length: points }, () => 1);
  return { step_ms, from_ms: 0, points, series: { stored_per_s: ones, dead_letters_per_s: ones, errors_per_s: ones, lag: ones, lag_seconds: ones }, consumers: {} };
};
const point = (ms: number): Point => ({ ms, stored: 2, dead: 0, errors: 0, lag: 0, lagSeconds: 0 });

it("goes on from the history with the stream, and shows no time twice", () => {
  const { times, stored } = lines(history(1000, 5), [point(3050), point(4050), point(5050)], 0);
  expect(times).toEqual([0, 1, 2, 3.05, 4.05, 5.05]);
  expect(stored).toEqual([1, 1, 1, 2, 2, 2]);
});

it("breaks the lines where seconds are missing", () => {
  expect(lines(undefined, [point(1000), point(9000)], 0).stored).toEqual([2, null, 2]);
});

it("leaves out what is before the time shown, and seconds among coarse steps", () => {
  expect(lines(undefined, [point(1000), point(60_000)], 30_000).times).toEqual([60]);
  expect(lines(history(12_000, 3), [point(30_000)], 0).times).toEqual([0, 12, 24]);
});
