// Draws the graph on a canvas: links, messages on their way, nodes with a sign for how they stand (colour is never the only one).

import type { Edge } from "../state/frame";
import type { GraphNode, Layout } from "./layout";

export interface Palette {
  line: string;
  lineBad: string;
  text: string;
  muted: string;
  panel: string;
  leader: string;
  healthy: string;
  bad: string;
  pending: string;
  proposal: string;
  vote: string;
  focus: string;
}

/** How long a message is on its way, and how many are drawn at a time; of more, the newest. */
const FLIGHT_MS = 520;
const FLIGHTS_MAX = 240;
/** With more links than this each is drawn fainter. */
const LINKS_FULL = 60;
/** Messages of one frame are spread over at most so much, as far apart as they happened. */
const SPREAD_MS = 120;
/** Room around the nodes, for names and rings. */
const MARGIN = { x: 54, top: 30, bottom: 60 };

interface Flight {
  source: GraphNode;
  target: GraphNode;
  isProposal: boolean;
  start: number;
}

interface View {
  scale: number;
  x: number;
  y: number;
}

export class Painter {
  private flights: Flight[] = [];
  private view: View | null = null;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly layout: Layout,
  ) {}

  /** Starts messages on their way. */
  launch(moments: Edge[], now: number): void {
    if (moments.length === 0) return;
    const first = Math.min(...moments.map((moment) => moment.at));
    for (const moment of moments) {
      const source = this.layout.nodes.get(moment.source);
      const target = this.layout.nodes.get(moment.target);
      if (!source || !target || source === target) continue;
      const start = now + Math.min(SPREAD_MS, Math.max(0, moment.at - first));
      this.flights.push({ source, target, isProposal: moment.type === "proposal", start });
    }
    if (this.flights.length > FLIGHTS_MAX) this.flights = this.flights.slice(-FLIGHTS_MAX);
  }

  /** Draws; whether the next animation frame will look different by itself. */
  paint(now: number, palette: Palette, chosen: string, hovered: string, calm: boolean): boolean {
    const context = this.canvas.getContext("2d");
    if (!context) return false;
    const ratio = this.canvas.width / Math.max(1, this.canvas.clientWidth);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const settled = this.fit(width, height, calm);
    const view = this.view;
    if (!view) return false;
    const place = (node: GraphNode): [number, number] => [node.x * view.scale + view.x, node.y * view.scale + view.y];

    // Many links are a background; one path for all of a colour.
    context.lineWidth = 1.2;
    context.globalAlpha = Math.min(1, Math.max(0.12, LINKS_FULL / Math.max(1, this.layout.links.length)));
    for (const bad of [false, true]) {
      context.strokeStyle = bad ? palette.lineBad : palette.line;
      context.beginPath();
      for (const link of this.layout.links) {
        if ((link.source.kind === "offline" || link.target.kind === "offline") !== bad) continue;
        context.moveTo(...place(link.source));
        context.lineTo(...place(link.target));
      }
      context.stroke();
    }
    context.globalAlpha = 1;

    this.flights = this.flights.filter((flight) => now < flight.start + FLIGHT_MS);
    for (const flight of this.flights) this.drawFlight(context, flight, now, palette, place, calm);

    const radius = this.layout.nodes.size > 40 ? 9 : this.layout.nodes.size > 16 ? 12 : 16;
    const named = this.layout.nodes.size <= 30;
    for (const node of this.layout.nodes.values()) {
      const [x, y] = place(node);
      drawNode(context, node, x, y, radius, palette, node.id === chosen, node.id === hovered);
      if (named || node.id === chosen || node.id === hovered) drawName(context, node, x, y + radius, palette);
    }
    return this.flights.length > 0 || !settled;
  }

  /** The node under a point of the canvas. */
  nodeAt(x: number, y: number): GraphNode | null {
    if (!this.view) return null;
    let nearest: GraphNode | null = null;
    let distance = 24;
    for (const node of this.layout.nodes.values()) {
      const away = Math.hypot(node.x * this.view.scale + this.view.x - x, node.y * this.view.scale + this.view.y - y);
      if (away < distance) [nearest, distance] = [node, away];
    }
    return nearest;
  }

  private fit(width: number, height: number, calm: boolean): boolean {
    const box = this.layout.bounds();
    const room = { width: Math.max(40, width - 2 * MARGIN.x), height: Math.max(40, height - MARGIN.top - MARGIN.bottom) };
    const scale = Math.min(room.width / Math.max(1, box.width), room.height / Math.max(1, box.height), 2.2);
    const x = MARGIN.x + room.width / 2 - (box.x + box.width / 2) * scale;
    const y = MARGIN.top + room.height / 2 - (box.y + box.height / 2) * scale;
    const old = this.view;
    const far = old ? Math.abs(old.scale - scale) * 100 + Math.abs(old.x - x) + Math.abs(old.y - y) : 0;
    if (!old || calm || far < 0.5) {
      this.view = { scale, x, y };
      return true;
    }
    const mix = (from: number, to: number) => from + (to - from) * 0.18;
    this.view = { scale: mix(old.scale, scale), x: mix(old.x, x), y: mix(old.y, y) };
    return false;
  }

  private drawFlight(
    context: CanvasRenderingContext2D,
    flight: Flight,
    now: number,
    palette: Palette,
    place: (node: GraphNode) => [number, number],
    calm: boolean,
  ): void {
    const part = (now - flight.start) / FLIGHT_MS;
    if (part < 0) return;
    const [fromX, fromY] = place(flight.source);
    const [toX, toY] = place(flight.target);
    const color = flight.isProposal ? palette.proposal : palette.vote;
    const head = calm ? 1 : ease(part);
    const tail = calm ? 0 : Math.max(0, head - (flight.isProposal ? 0.34 : 0.2));
    const at = (share: number): [number, number] => [fromX + (toX - fromX) * share, fromY + (toY - fromY) * share];
    context.strokeStyle = color;
    context.lineCap = "round";
    // The whole edge glows for a moment, and the message runs along it.
    context.globalAlpha = 0.28 * (1 - part);
    context.lineWidth = flight.isProposal ? 3 : 2;
    context.beginPath();
    context.moveTo(fromX, fromY);
    context.lineTo(toX, toY);
    context.stroke();
    context.globalAlpha = calm ? 0.6 * (1 - part) : 0.95;
    context.lineWidth = flight.isProposal ? 3 : 1.8;
    context.beginPath();
    context.moveTo(...at(tail));
    context.lineTo(...at(head));
    context.stroke();
    if (!calm) {
      context.fillStyle = color;
      context.beginPath();
      context.arc(...at(head), flight.isProposal ? 4 : 2.8, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }
}

function ease(part: number): number {
  return part < 0.5 ? 2 * part * part : 1 - (-2 * part + 2) ** 2 / 2;
}

function drawNode(
  context: CanvasRenderingContext2D,
  node: GraphNode,
  x: number,
  y: number,
  radius: number,
  palette: Palette,
  isChosen: boolean,
  isHovered: boolean,
): void {
  const color = { leader: palette.leader, healthy: palette.healthy, unhealthy: palette.bad, offline: palette.bad, pending: palette.pending }[node.kind];
  if (isChosen || isHovered) {
    context.strokeStyle = palette.focus;
    context.lineWidth = isChosen ? 2.5 : 1.5;
    context.beginPath();
    context.arc(x, y, radius + 8, 0, 2 * Math.PI);
    context.stroke();
  }
  if (node.kind === "leader") {
    context.strokeStyle = color;
    context.globalAlpha = 0.45;
    context.lineWidth = 4;
    context.beginPath();
    context.arc(x, y, radius + 4, 0, 2 * Math.PI);
    context.stroke();
    context.globalAlpha = 1;
  }
  const hollow = node.kind === "offline" || node.kind === "pending";
  context.fillStyle = hollow ? palette.panel : color;
  context.strokeStyle = hollow ? color : palette.panel;
  context.lineWidth = hollow ? 2 : 2.5;
  context.setLineDash(hollow ? [4, 3] : []);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
  context.setLineDash([]);
  context.strokeStyle = hollow ? color : palette.panel;
  context.lineWidth = 2;
  context.lineCap = context.lineJoin = "round";
  const unit = radius / 16;
  const lines = SIGNS[node.kind];
  for (const line of lines) {
    context.beginPath();
    line.forEach(([dx, dy], index) => (index === 0 ? context.moveTo(x + dx * unit, y + dy * unit) : context.lineTo(x + dx * unit, y + dy * unit)));
    context.stroke();
  }
}

/** What stands in a node: a crown, a check, an exclamation mark, a cross, three dots. In units of a sixteenth of the radius. */
const SIGNS: Record<GraphNode["kind"], [number, number][][]> = {
  leader: [
    [
      [-7, 5],
      [-7, -4],
      [-3, 0],
      [0, -6],
      [3, 0],
      [7, -4],
      [7, 5],
      [-7, 5],
    ],
  ],
  healthy: [
    [
      [-5.5, 0.5],
      [-1.5, 4.5],
      [5.5, -4],
    ],
  ],
  unhealthy: [
    [
      [0, -7],
      [0, 1.5],
    ],
    [
      [0, 6],
      [0, 6.2],
    ],
  ],
  offline: [
    [
      [-5, -5],
      [5, 5],
    ],
    [
      [5, -5],
      [-5, 5],
    ],
  ],
  pending: [
    [
      [-6, 0],
      [-5.8, 0],
    ],
    [
      [0, 0],
      [0.2, 0],
    ],
    [
      [6, 0],
      [6.2, 0],
    ],
  ],
};

function drawName(context: CanvasRenderingContext2D, node: GraphNode, x: number, bottom: number, palette: Palette): void {
  context.textAlign = "center";
  context.textBaseline = "top";
  const lines: [string, string, string][] = [[node.id.length > 16 ? `${node.id.slice(0, 15)}…` : node.id, "600 11px ui-monospace, SFMono-Regular, Menlo, monospace", palette.text]];
  const below = node.kind === "pending" ? "waiting" : node.kind === "offline" ? "offline" : `#${node.height.toLocaleString("en-US")}`;
  lines.push([below, "11px ui-monospace, SFMono-Regular, Menlo, monospace", palette.muted]);
  lines.forEach(([text, font, color], index) => {
    context.font = font;
    // A halo of the panel's colour keeps names readable on links.
    context.lineWidth = 3;
    context.strokeStyle = palette.panel;
    context.strokeText(text, x, bottom + 7 + index * 13);
    context.fillStyle = color;
    context.fillText(text, x, bottom + 7 + index * 13);
  });
}
