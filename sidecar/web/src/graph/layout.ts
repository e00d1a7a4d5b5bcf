// Where the graph's nodes are: forces that settle, on a ring while there are few, and a view that fits them into the canvas.

import {
  forceCollide,
  forceLink,
  forceManyBody,
  forceRadial,
  forceSimulation,
  forceX,
  forceY,
  type Simulation,
  type SimulationLinkDatum,
  type SimulationNodeDatum,
} from "d3-force";
import { standing, type NetworkState, type Standing } from "../state/reduce";

export interface GraphNode extends SimulationNodeDatum {
  id: string;
  /** As a validator stands; `pending` for a node that waits for the sovereign. */
  kind: Standing | "pending";
  height: number;
  x: number;
  y: number;
}

type GraphLink = SimulationLinkDatum<GraphNode>;

/** Radius of the ring in the layout's own units, and of the outer one for nodes that wait. */
const RING = 120;
const OUTER = 190;
/** With more validators than this they find their own places. */
const RING_MAX = 24;
/** Waiting nodes that are drawn; the registry's page lists all. */
const PENDING_MAX = 12;

export class Layout {
  readonly nodes = new Map<string, GraphNode>();
  links: { source: GraphNode; target: GraphNode }[] = [];
  private readonly simulation: Simulation<GraphNode, GraphLink>;
  private readonly spring = forceLink<GraphNode, GraphLink>([]);
  private shape = "";

  constructor() {
    this.simulation = forceSimulation<GraphNode, GraphLink>([])
      .force("charge", forceManyBody<GraphNode>().strength(-260))
      .force("link", this.spring.id((node) => node.id).distance(150).strength(0.02))
      .force("x", forceX<GraphNode>(0).strength(0.03))
      .force("y", forceY<GraphNode>(0).strength(0.03))
      .force("collide", forceCollide<GraphNode>(26))
      .stop();
  }

  /** Takes over who is there and how they stand; starts the forces again when somebody or a link came or went. */
  update(state: NetworkState): void {
    const validators = [...state.validators.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const waiting = [...state.nodes.values()]
      .filter((node) => node.status === "pending" && !state.validators.has(node.id))
      .slice(0, PENDING_MAX);
    const links = [...state.links.values()].filter((link) => state.validators.has(link.source) && state.validators.has(link.target));
    const ids = [...validators.map((validator) => validator.id), ...waiting.map((node) => node.id)];
    const shape = `${ids.join()};${links.map((link) => `${link.source}-${link.target}`).sort().join()}`;
    const isNew = shape !== this.shape;
    const known = new Set(ids);
    for (const id of this.nodes.keys()) if (!known.has(id)) this.nodes.delete(id);
    validators.forEach((validator, place) => this.put(validator.id, standing(validator), validator.currentHeight, place / validators.length, RING));
    waiting.forEach((node, place) => this.put(node.id, "pending", 0, (place + 0.5) / waiting.length, OUTER));
    if (!isNew) return;
    const first = this.shape === "";
    this.shape = shape;
    this.links = links.flatMap((link) => {
      const [source, target] = [this.nodes.get(link.source), this.nodes.get(link.target)];
      return source && target ? [{ source, target }] : [];
    });
    const nodes = [...this.nodes.values()];
    const ring = validators.length <= RING_MAX;
    this.simulation
      .nodes(nodes)
      .force(
        "ring",
        forceRadial<GraphNode>((node) => (node.kind === "pending" ? OUTER : RING), 0, 0).strength((node) => (ring || node.kind === "pending" ? 0.9 : 0)),
      );
    this.spring.links(this.links.map((link) => ({ source: link.source.id, target: link.target.id })));
    this.simulation.alpha(first ? 1 : 0.5);
    // The first picture is a settled one.
    if (first) this.simulation.tick(200);
  }

  private put(id: string, kind: GraphNode["kind"], height: number, turn: number, radius: number): void {
    const old = this.nodes.get(id);
    if (old) {
      old.kind = kind;
      old.height = height;
      return;
    }
    const angle = 2 * Math.PI * turn - Math.PI / 2;
    this.nodes.set(id, { id, kind, height, x: radius * Math.cos(angle), y: radius * Math.sin(angle) });
  }

  /** Moves on by a step; whether anything still moves. */
  tick(): boolean {
    if (this.simulation.alpha() < this.simulation.alphaMin()) return false;
    this.simulation.tick();
    return true;
  }

  /** The part of the plane that holds all nodes. */
  bounds(): { x: number; y: number; width: number; height: number } {
    const nodes = [...this.nodes.values()];
    if (nodes.length === 0) return { x: -RING, y: -RING, width: 2 * RING, height: 2 * RING };
    const xs = nodes.map((node) => node.x);
    const ys = nodes.map((node) => node.y);
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    return { x: left, y: top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
  }
}
