import { expect, it } from "vitest";
import { placeOf, placeText } from "./place";

it("reads what it writes, and nothing else", () => {
  const place = { topic: "user_events.v2", partition: 3, offset: 1042 };
  expect(placeOf(placeText(place))).toEqual(place);
  for (const bad of [null, "", "a/b/c", "a/1", "a/-1/2", "a b/1/2", "a/1/2/3", "<b>/1/2", "a/99999999999/1", `a/1/${"9".repeat(17)}`]) expect(placeOf(bad)).toBeNull();
});
