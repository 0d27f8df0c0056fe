/** A longer line is cut on both sides. */
const WIDTH = 100;

/** A line of a file, with its number, and below it a caret under the column, which counts from 1. */
export function excerptOf(text: string, line: number, column: number): string {
  const start = Math.max(0, Math.min(column - WIDTH / 2, text.length - WIDTH));
  // One column a character: a tab or a control character would move the caret away from its place.
  const shown = text.slice(start, start + WIDTH).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, " ");
  const margin = `${line} | `;
  return `${margin}${shown}\n${" ".repeat(margin.length - 2)}| ${" ".repeat(column - 1 - start)}^`;
}
