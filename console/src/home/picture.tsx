import type { Stats } from "../../../src/control/api.ts";
import { bytes, number } from "../format.ts";
import type { LampState } from "../parts/marks.tsx";
import { T } from "../texts.ts";
import { HEALTH, lampOf } from "./lamps.tsx";
import type { Rates } from "./rates.ts";

const P = T.picture;

/**
 * The way of the bytes: clients, Na, Ta, the tools, Tb, Nb, servers. Ciphertext is a solid line, plaintext a dashed one. With the
 * state of one session, the four ends show where that session is.
 */

interface Props {
  readonly stats: Stats;
  readonly rates: Rates | undefined;
  /** Na:Nb:Ta:Tb of one session; absent: the picture is about all. */
  readonly state?: string;
}

export function Picture({ stats, rates, state }: Props) {
  const { tools, feeds } = stats;
  const ends = state?.split(":") ?? [];
  const nodeState = HEALTH[stats.health.status];
  const toolsDown = tools.filter((tool) => tool.state === "down").length;
  const feedsDown = feeds.filter((feed) => feed.state === "stopped").length;
  const toolState = lampOf(tools.length, toolsDown);
  const feedState = lampOf(feeds.length, feedsDown);
  const live = stats.sessions.live;
  const down = rates ? `↓ ${bytes(rates.clientSent)}/s` : "";
  const up = rates ? `↑ ${bytes(rates.clientReceived)}/s` : "";
  const said = P.said(number(live), tools.length, toolsDown, feeds.length, feedsDown);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: on a phone it scrolls
    <figure class="picture" tabIndex={0}>
      <svg viewBox="0 0 1000 262" role="img" aria-label={said}>
        <Arrow kind="cipher" d="M150 74 H352" />
        <Arrow kind="cipher" d="M648 74 H850" />
        <Arrow kind="plain" d="M392 132 V206 H422" isOff={tools.length === 0} />
        <Arrow kind="plain" d="M578 206 H608 V132" isOff={tools.length === 0} />
        <Arrow kind="plain" d="M640 120 C700 130 720 206 770 206" isOff={feeds.length === 0} />

        <Box
          x={10}
          y={36}
          width={140}
          height={76}
          title={P.clients}
          text={rates ? P.newSessions(number(rates.newSessions * 60)) : ""}
        />
        <Box x={340} y={14} width={320} height={118} title={T.name} text={P.live(number(live))} state={nodeState} />
        <Box
          x={850}
          y={36}
          width={140}
          height={76}
          title={P.servers}
          text={rates ? P.decrypted(number(rates.decrypted)) : ""}
        />
        <Box
          x={422}
          y={176}
          width={156}
          height={64}
          title={tools.length === 1 ? tools[0]!.name : P.tools}
          text={tools.length === 0 ? T.none : P.up(tools.length - toolsDown, tools.length)}
          state={toolState}
        />
        <Box
          x={770}
          y={176}
          width={220}
          height={64}
          title={feeds.length === 1 ? feeds[0]!.name : P.feeds}
          text={feeds.length === 0 ? T.none : rates ? `${bytes(rates.feeds)}/s` : ""}
          state={feedState}
        />

        <End x={352} y={74} name="Na" state={ends[0]} />
        <End x={648} y={74} name="Nb" state={ends[1]} />
        <End x={392} y={132} name="Ta" state={ends[2]} isOff={tools.length === 0} />
        <End x={608} y={132} name="Tb" state={ends[3]} isOff={tools.length === 0} />

        <text x={251} y={62} class="rate">
          {down}
        </text>
        <text x={251} y={94} class="rate">
          {up}
        </text>
        <text x={749} y={62} class="rate">
          {rates ? `↓ ${bytes(rates.serverReceived)}/s` : ""}
        </text>
        <text x={749} y={94} class="rate">
          {rates ? `↑ ${bytes(rates.serverSent)}/s` : ""}
        </text>
        <g class="legend">
          <path class="cipher" d="M20 196 H60" />
          <text x={70} y={200}>
            {P.ciphertext}
          </text>
          <path class="plain" d="M20 222 H60" />
          <text x={70} y={226}>
            {P.plaintext}
          </text>
        </g>
      </svg>
    </figure>
  );
}

function Arrow({ kind, d, isOff = false }: { kind: "cipher" | "plain"; d: string; isOff?: boolean }) {
  return <path class={`${kind} ${isOff ? "unused" : ""}`} d={d} />;
}

interface BoxProps {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly title: string;
  readonly text: string;
  readonly state?: LampState;
}

function Box({ x, y, width, height, title, text, state }: BoxProps) {
  const middle = x + width / 2;
  return (
    <g class={`box ${state ?? ""}`}>
      <rect x={x} y={y} width={width} height={height} rx={9} />
      <text x={middle} y={y + height / 2 - 4} class="title">
        {title.length > 22 ? `${title.slice(0, 21)}…` : title}
      </text>
      <text x={middle} y={y + height / 2 + 15}>
        {text}
      </text>
    </g>
  );
}

function End({
  x,
  y,
  name,
  state,
  isOff = false,
}: {
  x: number;
  y: number;
  name: string;
  state: string | undefined;
  isOff?: boolean;
}) {
  return (
    <g class={`end ${isOff ? "unused" : ""} ${state ?? ""}`}>
      <title>{state ? `${name}: ${state}` : name}</title>
      <circle cx={x} cy={y} r={15} />
      <text x={x} y={y + 4}>
        {name}
      </text>
    </g>
  );
}
