/** A profile as V8 writes it: a tree of calls, and which of them ran at each sample. */
export interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

interface Frame {
  readonly name: string;
  /** Microseconds in this call and those below it. */
  readonly total: number;
  readonly callees: readonly Frame[];
}

/** The time without work, as V8 calls it, and the start of the program, which loads its modules. */
const NOT_DRAWN = /^\(idle\)$|^\(program\)$| run_main_module:/;
const WIDTH = 1200;
const ROW = 17;
/** Pixels: narrower calls are left out. */
const NARROWEST = 1;
const LETTER = 6.4;

/** Draws where the time of a profile went: each call is as wide as its share, and stands on its caller. */
export function flameGraph(title: string, profile: Profile): string {
  const root = { ...treeOf(profile), name: "all" };
  const rows: string[] = [];
  let depth = 0;
  const draw = (frame: Frame, left: number, level: number): void => {
    const width = (frame.total / root.total) * WIDTH;
    if (width < NARROWEST) return;
    depth = Math.max(depth, level + 1);
    rows.push(box(frame, { left, level, width, share: frame.total / root.total }));
    let at = left;
    for (const callee of frame.callees.toSorted((one, other) => other.total - one.total)) {
      draw(callee, at, level + 1);
      at += (callee.total / root.total) * WIDTH;
    }
  };
  draw(root, 0, 0);
  const height = depth * ROW + 34;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10.5" role="img" aria-labelledby="t">
<title id="t">${escapeXml(title)}</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="8" y="18" font-size="13" font-family="sans-serif">${escapeXml(title)}</text>
<g transform="translate(0 ${height - ROW - 4})">
${rows.join("\n")}
</g>
</svg>
`;
}

function treeOf({ nodes, samples, timeDeltas }: Profile): Frame {
  const own = new Map<number, number>();
  for (const [index, id] of samples.entries()) own.set(id, (own.get(id) ?? 0) + timeDeltas[index]!);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const frameOf = (id: number): Frame => {
    const { callFrame, children = [] } = byId.get(id)!;
    const callees = children.map(frameOf).filter(({ name }) => !NOT_DRAWN.test(name));
    const total = callees.reduce((sum, callee) => sum + callee.total, own.get(id) ?? 0);
    return { name: nameOf(callFrame), total, callees };
  };
  return frameOf(nodes[0]!.id);
}

/** "#call openssl-layer.ts:134" */
function nameOf({ functionName, url, lineNumber }: Profile["nodes"][number]["callFrame"]): string {
  const place = url === "" ? "" : ` ${url.slice(url.lastIndexOf("/") + 1)}:${lineNumber + 1}`;
  return `${functionName || "(anonymous)"}${place}`;
}

function box(frame: Frame, at: { left: number; level: number; width: number; share: number }): string {
  const name = escapeXml(frame.name.slice(0, Math.max(0, Math.floor((at.width - 4) / LETTER))));
  const percent = `${(at.share * 100).toFixed(1)} %`;
  const [x, y, width] = [at.left.toFixed(1), -at.level * ROW, (at.width - 0.5).toFixed(1)];
  const rect = `<rect x="${x}" y="${y}" width="${width}" height="${ROW - 1}" fill="${colourOf(frame.name)}"/>`;
  const text = at.width > 30 ? `<text x="${(at.left + 3).toFixed(1)}" y="${y + 12}">${name}</text>` : "";
  return `<g><title>${escapeXml(frame.name)}, ${percent}</title>${rect}${text}</g>`;
}

/** The engine, the rest of the node, and what is Node's. */
function colourOf(name: string): string {
  if (
    / (?:openssl-layer|ssl3-layer|end|loop|relay|writer|dial|listen|contexts|callbacks|splice|native|verify)\.ts:/.test(
      name,
    )
  ) {
    return "#f4a460";
  }
  return name.includes(".ts:") ? "#ffd27f" : "#cfd8dc";
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
