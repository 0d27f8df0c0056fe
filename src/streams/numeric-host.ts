/**
 * Reads the older spellings of an IPv4 address, which inet_aton(3) and so most programs take for one: "127.1", "2130706433",
 * "0x7f.1", "0177.0.0.1". Undefined: the name is none of them.
 */
export function readNumericHost(name: string): string | undefined {
  if (!/^(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}$/i.test(name)) return undefined;
  const parts = name.split(".").map(readPart);
  const last = parts.pop()!;
  // The last number fills the bytes that the others leave.
  if (parts.some((part) => !(part <= 255)) || !(last < 256 ** (4 - parts.length))) return undefined;
  const value = parts.reduce((sum, part, index) => sum + part * 256 ** (3 - index), last);
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

/** NaN: a digit that an octal number does not have. */
function readPart(text: string): number {
  if (/^0x/i.test(text)) return Number.parseInt(text.slice(2) || "0", 16);
  if (!/^0[0-9]/.test(text)) return Number(text);
  return /[89]/.test(text) ? Number.NaN : Number.parseInt(text, 8);
}
