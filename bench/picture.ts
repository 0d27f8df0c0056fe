/** What the pictures of the bench share: the frame, the colours of a light and of a dark page, and the type. */

const LIGHT = ".back { fill: #f6f8fa } .text { fill: #1f2328 } .dim { fill: #57606a } .grid { stroke: #d0d7de }";
const DARK = ".back { fill: #161b22 } .text { fill: #e6edf3 } .dim { fill: #9da7b1 } .grid { stroke: #30363d }";

interface Frame {
  readonly title: string;
  readonly width: number;
  readonly height: number;
  /** Rules of CSS for what is the picture's own. */
  readonly light: string;
  readonly dark: string;
}

/** An SVG of these lines. */
export function picture({ title, width, height, light, dark }: Frame, lines: readonly string[]): string {
  const attributes = `viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${attributes} role="img" aria-labelledby="t">
  <title id="t">${title}</title>
  <style>
    ${LIGHT} ${light}
    @media (prefers-color-scheme: dark) { ${DARK} ${dark} }
  </style>
  <rect class="back" width="${width}" height="${height}" rx="12"/>
${lines.join("\n")}
</svg>
`;
}

/** A place in a picture, to a tenth of a pixel. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}
