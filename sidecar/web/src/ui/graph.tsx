// The network as a graph, with proposals and votes on their way. Drawn on a canvas, one picture an animation frame and none while nothing moves.

import { useEffect, useRef, useState } from "preact/hooks";
import { Layout } from "../graph/layout";
import { Painter, type Palette } from "../graph/draw";
import { ALL } from "../state/history";
import { store, useTopics } from "../state/store";
import { plural } from "../util/format";
import { cssColor, useIsDark } from "../util/prefs";
import { selected, useValue } from "../util/value";
import { Empty, Panel } from "./parts";

function palette(): Palette {
  return {
    line: cssColor("--link"),
    lineBad: cssColor("--link-bad"),
    text: cssColor("--text"),
    muted: cssColor("--muted"),
    panel: cssColor("--panel"),
    leader: cssColor("--amber-fill"),
    healthy: cssColor("--green-fill"),
    bad: cssColor("--red-fill"),
    pending: cssColor("--grey-fill"),
    proposal: cssColor("--amber-fill"),
    vote: cssColor("--blue-fill"),
    focus: cssColor("--focus"),
  };
}

export function Graph() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const chosen = useValue(selected);
  const dark = useIsDark();
  const state = useTopics("validators", "links", "mesh", "link");
  const [hovered, setHovered] = useState("");
  // What the drawing loop reads; it runs outside of rendering.
  const seen = useRef({ chosen, hovered, palette: null as Palette | null, dirty: true, painter: null as Painter | null, layout: null as Layout | null });
  seen.current.chosen = chosen;
  seen.current.hovered = hovered;
  seen.current.layout?.update(state);
  seen.current.dirty = true;

  useEffect(() => {
    seen.current.palette = palette();
    seen.current.dirty = true;
  }, [dark]);

  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const layout = new Layout();
    layout.update(store.state);
    const painter = new Painter(element, layout);
    Object.assign(seen.current, { painter, layout, palette: palette() });
    const calmQuery = matchMedia("(prefers-reduced-motion: reduce)");
    const resize = () => {
      const ratio = Math.min(3, devicePixelRatio || 1);
      element.width = Math.round(element.clientWidth * ratio);
      element.height = Math.round(element.clientHeight * ratio);
      seen.current.dirty = true;
    };
    const observer = new ResizeObserver(resize);
    observer.observe(element);
    resize();
    let frame = 0;
    let moving = true;
    const loop = (now: number) => {
      frame = requestAnimationFrame(loop);
      const moments = store.takeMoments();
      painter.launch(moments, now);
      const drifts = layout.tick();
      if (!moving && !drifts && moments.length === 0 && !seen.current.dirty) return;
      seen.current.dirty = false;
      const colors = seen.current.palette;
      if (colors) moving = painter.paint(now, colors, seen.current.chosen, seen.current.hovered, calmQuery.matches) || drifts;
    };
    frame = requestAnimationFrame(loop);
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      Object.assign(seen.current, { painter: null, layout: null });
    };
  }, []);

  const pick = (event: MouseEvent) => {
    const node = seen.current.painter?.nodeAt(event.offsetX, event.offsetY);
    if (node && node.kind !== "pending") selected.set(node.id === chosen ? ALL : node.id);
  };
  const leader = [...state.validators.values()].find((validator) => validator.isLeader);
  const waiting = state.nodeCount.pending;
  return (
    <Panel title="Network" class="graph" id="graph" flush aside={<Legend />}>
      <canvas
        ref={canvas}
        role="img"
        aria-label={`${plural(state.validators.size, "validator")}, ${plural(state.links.size, "link")}, ${leader ? `${leader.id} leads` : "no leader known"}${waiting ? `, ${plural(waiting, "node")} waiting` : ""}. The list of validators has the same.`}
        class={hovered ? "pointing" : ""}
        onClick={pick}
        onMouseMove={(event) => setHovered(seen.current.painter?.nodeAt(event.offsetX, event.offsetY)?.id ?? "")}
        onMouseLeave={() => setHovered("")}
      />
      {state.validators.size === 0 && (
        <div class="graph-empty">
          <Empty>{store.link.kind === "live" ? "No validator is known yet." : "Waiting for the network…"}</Empty>
        </div>
      )}
    </Panel>
  );
}

function Legend() {
  return (
    <ul class="legend" aria-label="Colours">
      <li class="amber">leader</li>
      <li class="green">healthy</li>
      <li class="red">down</li>
      <li class="grey hollow">pending</li>
      <li class="amber stroke">proposal</li>
      <li class="blue stroke">vote</li>
    </ul>
  );
}
