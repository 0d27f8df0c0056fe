/** HTML pages with named places for text. Whatever the text, it stays text. */

/** The names of the places. `{{name}}` in a template is replaced by the value's text. */
export const PLACES = ["title", "reason", "advice", "rule", "session", "host", "status"] as const;
export type Place = (typeof PLACES)[number];
export type PlaceTexts = Readonly<Record<Place, string>>;

/** A page without these would not say why, nor help to find the session. */
const REQUIRED: readonly Place[] = ["reason", "session"];

/** The largest template, in bytes: a page is sent in one piece. */
export const LARGEST_TEMPLATE = 32 * 1024;
/** The longest text that takes a place, in characters. */
const LONGEST_TEXT = 500;
/** A template may name each place a few times; more would make the page longer than one piece. */
const MOST_PLACES = 24;

const PLACE = /\{\{\s*([^{}]*?)\s*\}\}/g;

/** What is wrong with a template: a part of a sentence, such as "has no {{reason}}". Undefined: nothing is. */
export function templateFault(template: string): string | undefined {
  const names = [...template.matchAll(PLACE)].map(([, name]) => name ?? "");
  const unknown = names.find((name) => !isPlace(name));
  if (unknown !== undefined) {
    return `has {{${unknown.slice(0, 40)}}}; the placeholders are ${PLACES.map((name) => `{{${name}}}`).join(", ")}`;
  }
  if (names.length > MOST_PLACES) return `has ${names.length} placeholders; at most ${MOST_PLACES} are allowed`;
  const missing = REQUIRED.find((name) => !names.includes(name));
  if (missing) return `has no {{${missing}}}`;
  if (template.includes("\uFFFD")) return "is not UTF-8";
  // A value in there would be read as a script or a style, not as text.
  const raw = /<(script|style)\b[^>]*>(?:(?!<\/\1)[\s\S])*\{\{/i.exec(template);
  return raw ? `has a placeholder inside of <${raw[1]?.toLowerCase()}>` : undefined;
}

/** Fills in a template without faults. */
export function fillTemplate(template: string, texts: PlaceTexts): string {
  return template.replaceAll(PLACE, (whole, name: string) => (isPlace(name) ? escapeHtml(texts[name]) : whole));
}

function isPlace(name: string): name is Place {
  return PLACES.some((place) => place === name);
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
  "=": "&#61;",
};

/** Text for an element or a quoted attribute, without what could hide or reorder other text. */
export function escapeHtml(text: string): string {
  return tidy(text).replaceAll(/[&<>"'`=]/g, (character) => ESCAPES[character] ?? "");
}

/** One line of bounded length without control characters, bidirectional ones among them. */
export function tidy(text: string): string {
  const plain = text.toWellFormed().replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ");
  const characters = [...plain];
  return characters.length > LONGEST_TEXT ? `${characters.slice(0, LONGEST_TEXT).join("")}…` : plain;
}
