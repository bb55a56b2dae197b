import { expect, it } from "vitest";
import { sparkPaths } from "./Sparkline";

it("ends at the right edge and breaks where nothing is known", () => {
  const [line, area] = sparkPaths([1, null, 2, 4], 5);
  expect(line).toBe("M1 73M3 50L4 5");
  expect(area.match(/Z/g)).toHaveLength(2);
  expect(sparkPaths([], 5)).toEqual(["", ""]);
});
