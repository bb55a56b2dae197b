// Invented data for the mock: what a herd of consumers does, and texts that mean harm.

export const TYPES = ["page_view", "button_click", "form_submit", "video_play", "add_to_cart", "search"];
export const ELEMENTS = ["checkout_btn", "home_page", "signup_form", "hero_video", "nav_search", "product_card", "footer_link"];

/** Each wants to break the page in a way of its own. */
export const HOSTILE = [
  "<script>window.__harmed = 1</script>",
  '<img src=x onerror="window.__harmed = 1">',
  "\u202Eevil gnp.exe\u202C",
  "\u2066left\u2069 \u200F\u200E\u061C",
  "zero\u200Bwidth\uFEFF",
  "\u0000\u0007\u001B[31mred\u001B[0m\u0085",
  "javascript:window.__harmed=1//",
  "'\"></style><svg onload=window.__harmed=1>",
  "broken \uFFFD\uFFFD utf-8",
  "\uD800 lone surrogate",
  "\u{E0041}\u{E0042} tags",
  "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
  "M".repeat(1 << 20),
  "line\nfeeds\r\nand\ttabs",
  "constructor",
  "__proto__",
  "{{7*7}} ${7*7} %s %n",
  "",
];

export const DEEP = "[".repeat(20_000) + "]".repeat(20_000);

let seed = 42;
/** The same numbers at each start, so that screenshots can be compared. */
export function random() {
  seed = (seed * 1664525 + 1013904223) >>> 0;
  return seed / 2 ** 32;
}
export const pick = (list) => list[Math.floor(random() * list.length)];

/** A user: a few are busy, most are not. */
export const user = () => `user_${String(Math.floor(random() ** 3 * 500)).padStart(4, "0")}`;
