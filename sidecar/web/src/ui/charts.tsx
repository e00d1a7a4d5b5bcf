// Throughput and latency over the last five minutes.

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { ALL, type Series } from "../state/history";
import { store, useTopics } from "../state/store";
import { clock, latency, short } from "../util/format";
import { cssColor, useIsDark } from "../util/prefs";
import { selected, useValue } from "../util/value";
import { Panel } from "./parts";

interface Line {
  series: Series;
  label: string;
  color: string;
  dash?: number[];
  fill?: boolean;
}

const THROUGHPUT: Line[] = [
  { series: "applied", label: "applied", color: "--blue-fill", fill: true },
  { series: "final", label: "final", color: "--violet-fill", dash: [5, 4] },
];
const LATENCY: Line[] = [
  { series: "finalP50", label: "final p50", color: "--green-fill" },
  { series: "finalP99", label: "final p99", color: "--violet-fill" },
  { series: "appliedP99", label: "applied p99", color: "--amber-fill", dash: [5, 4] },
];
const PER_SECOND = (value: number | null | undefined) => (value === null || value === undefined ? "–" : `${short(value)} tx/s`);
/** The window is at least so wide, in seconds, so that the first samples do not fill it. */
const WINDOW_MIN_S = 60;

export function ThroughputChart() {
  return <Chart id="throughput" title="Throughput" lines={THROUGHPUT} print={PER_SECOND} axis={(value) => short(value)} />;
}

export function LatencyChart() {
  return <Chart id="latency" title="Latency" lines={LATENCY} print={latency} axis={(value) => (value >= 1_000 ? `${value / 1_000} s` : `${value} ms`)} />;
}

function Chart(props: {
  id: string;
  title: string;
  lines: Line[];
  print: (value: number | null | undefined) => string;
  axis: (value: number) => string;
}) {
  const { id, title, lines, print } = props;
  const chosen = useValue(selected);
  const dark = useIsDark();
  useTopics("history");
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [cursor, setCursor] = useState<number | null>(null);
  const names = lines.map((line) => line.series);
  const columns = store.history.columns(chosen, names);
  const times = store.history.times;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = new uPlot(options(element, lines, props.axis, setCursor), [times, ...columns] as uPlot.AlignedData, element);
    plot.current = made;
    const observer = new ResizeObserver(() => {
      const [width, height] = [element.clientWidth, element.clientHeight];
      if (width > 0 && height > 0 && (width !== made.width || height !== made.height)) made.setSize({ width, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [dark, id]);

  useEffect(() => {
    plot.current?.setData([times, ...columns] as uPlot.AlignedData);
  }, [times.at(-1), chosen, dark]);

  const at = cursor !== null && cursor < times.length ? cursor : times.length - 1;
  const values = columns.map((column) => column[at]);
  const when = cursor !== null && times[at] !== undefined ? clock(times[at] * 1_000) : "";
  const told = lines.map((line, index) => `${line.label} ${print(values[index])}`).join(", ");
  return (
    <Panel
      title={title}
      class="chart"
      id={id}
      flush
      aside={
        <ul class="chart-legend" title={chosen === ALL ? "The network: the chain's rate, the slowest validator's latency" : chosen}>
          {when && <li class="muted">{when}</li>}
          {lines.map((line, index) => (
            <li key={line.series}>
              <i class={`stroke ${line.series}`} />
              {line.label} <b>{print(values[index])}</b>
            </li>
          ))}
        </ul>
      }
    >
      <div class="plot" ref={box} role="img" aria-label={`${title}, last five minutes: ${told}`} data-points={times.length} />
    </Panel>
  );
}

function options(element: HTMLElement, lines: Line[], axis: (value: number) => string, onCursor: (index: number | null) => void): uPlot.Options {
  const grid = { stroke: cssColor("--grid"), width: 1 };
  const font = "11px system-ui, sans-serif";
  const stroke = cssColor("--muted");
  return {
    width: Math.max(50, element.clientWidth),
    height: Math.max(50, element.clientHeight),
    legend: { show: false },
    padding: [8, 26, 0, 0],
    cursor: { sync: { key: "tana" }, points: { size: 6 }, drag: { x: false, y: false } },
    hooks: { setCursor: [(self) => onCursor(self.cursor.idx ?? null)] },
    scales: {
      x: { time: true, range: (_self, low, high) => (Number.isFinite(high) ? [Math.min(low, high - WINDOW_MIN_S), high] : [0, WINDOW_MIN_S]) },
      y: { range: (_self, _low, high) => [0, high > 0 ? high * 1.15 : 1] },
    },
    axes: [
      { stroke, font, grid: { show: false }, ticks: { show: false }, size: 22, gap: 2, space: 70, values: (_self, splits) => splits.map((split) => clock(split * 1_000).slice(0, split % 60 === 0 ? 5 : 8)) },
      { stroke, font, grid, ticks: { show: false }, size: 52, gap: 4, space: 28, values: (_self, splits) => splits.map(axis) },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: cssColor(line.color),
        width: 1.6,
        ...(line.dash ? { dash: line.dash } : {}),
        ...(line.fill ? { fill: `${cssColor(line.color)}22` } : {}),
        points: { show: false },
      })),
    ],
  };
}
