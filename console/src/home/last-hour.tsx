import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { SeriesAnswer } from "../../../src/control/api.ts";
import { number } from "../format.ts";
import { Answer, Panel } from "../parts/panels.tsx";
import type { Resource } from "../resource.ts";
import { put } from "../router.ts";
import { OUTCOMES, T } from "../texts.ts";
import { theme } from "../theme.ts";

/** How sessions ended in the last hour, stacked. A part that is dragged over filters the list below. */

/** From the bottom to the top, with the colour of the style sheet. */
export const LAYERS = [
  ["decrypted", "--decrypted"],
  ["bypassed", "--bypassed"],
  ["plaintext", "--plaintext"],
  ["dropped", "--dropped"],
  ["clientRefusedCertificate", "--refused"],
  ["clientFailed", "--failed"],
  ["serverFailed", "--failed"],
  ["serverUnreachable", "--failed"],
  ["toolFailed", "--failed"],
  ["nodeFailed", "--failed"],
] as const;

const HEIGHT = 170;

export function LastHour({ series }: { series: Resource<SeriesAnswer> }) {
  return (
    <Panel
      title={T.home.lastHour}
      hint={T.home.lastHourHint}
      call="/series?since=2026-11-28T14:00&names=decrypted,dropped"
      command="clearline series --since 1h"
    >
      <Answer of={series}>
        {(answer) => (
          <>
            <Chart answer={answer} />
            <Legend answer={answer} />
          </>
        )}
      </Answer>
    </Panel>
  );
}

/** Each layer with its number, so that colours say nothing alone. */
function Legend({ answer }: { answer: SeriesAnswer }) {
  const totals = LAYERS.map(([name, colour]) => [name, colour, total(answer.series[name])] as const).filter(
    ([, , count]) => count > 0,
  );
  return (
    <ul class="chart-legend">
      {totals.map(([name, colour, count]) => (
        <li key={name}>
          <i class={`swatch ${colour.slice(2)}`} /> {OUTCOMES[name]} <b>{number(count)}</b>
        </li>
      ))}
    </ul>
  );
}

export function total(values: readonly (number | null)[] | undefined): number {
  return (values ?? []).reduce<number>((sum, value) => sum + (value ?? 0), 0);
}

function Chart({ answer }: { answer: SeriesAnswer }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const chosen = theme.value;
  useEffect(() => {
    const element = box.current!;
    const made = new uPlot(optionsFor(element), stacked(answer), element);
    plot.current = made;
    const observer = new ResizeObserver(([entry]) => made.setSize({ width: entry!.contentRect.width, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [chosen]);
  useEffect(() => {
    plot.current?.setData(stacked(answer));
  }, [answer]);
  const said = LAYERS.map(([name]) => `${OUTCOMES[name]}: ${number(total(answer.series[name]))}`).join(", ");
  return <div class="chart" ref={box} role="img" aria-label={`${T.home.lastHour}. ${said}`} />;
}

/** uPlot draws each layer as a line from the bottom, the highest first: so each value is the sum of its layer and those below. */
function stacked({ since, step, series }: SeriesAnswer): uPlot.AlignedData {
  const length = Math.max(...LAYERS.map(([name]) => series[name]?.length ?? 0));
  const times = Array.from({ length }, (_, at) => (since + at * step) / 1000);
  const sums = new Array<number>(length).fill(0);
  const layers = LAYERS.map(([name]) => times.map((_, at) => (sums[at]! += series[name]?.[at] ?? 0)));
  return [times, ...layers.reverse()];
}

function optionsFor(element: HTMLElement): uPlot.Options {
  // A canvas takes no variables: the colour that the element itself would have is read from it.
  const colour = (name: string) => {
    element.style.color = `var(${name})`;
    return getComputedStyle(element).color;
  };
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: true, y: false }, points: { show: false } },
    scales: { y: { range: (_, __, most) => [0, Math.max(most, 1)] } },
    axes: [
      { ...axis, values: (_, times) => times.map((time) => new Date(time * 1000).toTimeString().slice(0, 5)) },
      {
        ...axis,
        size: 44,
        values: (_, values) => values.map((value) => (Number.isInteger(value) ? number(value) : "")),
      },
    ],
    series: [
      {},
      ...LAYERS.toReversed().map(([name, variable]) => ({
        label: OUTCOMES[name],
        fill: colour(variable),
        width: 0,
        points: { show: false },
      })),
    ],
    hooks: {
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4) return;
          const [since, until] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
          put({ since: String(Math.floor(since * 1000)), until: String(Math.ceil(until * 1000)) });
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}
