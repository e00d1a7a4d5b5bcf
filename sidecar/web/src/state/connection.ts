// The WebSocket to the visualizer: connects, reads frames, and connects again by itself, after 0.5 s at first and 5 s at the most.

import { parseMessage, type Frame } from "./frame";

export const BACKOFF_FIRST_MS = 500;
export const BACKOFF_LAST_MS = 5_000;
/** A connection that got no first frame in this time is given up. */
const FIRST_FRAME_MS = 8_000;

/** What the header says of the connection. */
export type Link =
  | { kind: "connecting"; attempt: number }
  | { kind: "live"; since: number }
  | { kind: "waiting"; until: number; reason: string; attempt: number };

export interface ConnectionHandlers {
  /** Takes a frame; `false` when one was missed, and the connection starts over. */
  onFrame(frame: Frame): boolean;
  onLink(link: Link): void;
}

/** What the connection needs of its surroundings; tests put their own in. */
export interface Surroundings {
  open(url: string): WebSocketLike;
  now(): number;
  after(ms: number, action: () => void): () => void;
  random(): number;
}

export interface WebSocketLike {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  onerror: (() => void) | null;
  close(): void;
}

const browser: Surroundings = {
  open: (url) => new WebSocket(url) as unknown as WebSocketLike,
  now: () => Date.now(),
  after: (ms, action) => {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** How long to wait before the try after `failures` (1 and more) failures; a little random, so that many pages do not come at once. */
export function backoff(failures: number, random: number): number {
  const full = Math.min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2 ** (failures - 1));
  return Math.max(BACKOFF_FIRST_MS, full * (0.75 + 0.25 * random));
}

export class Connection {
  private socket: WebSocketLike | null = null;
  private failures = 0;
  private cancel: (() => void) | null = null;
  private stopped = true;

  constructor(
    readonly url: string,
    private readonly handlers: ConnectionHandlers,
    private readonly around: Surroundings = browser,
  ) {}

  start(): void {
    this.stopped = false;
    this.connect();
  }

  stop(): void {
    this.stopped = true;
    this.cancelTimer();
    this.drop();
  }

  /** Tries at once instead of when the wait is over. */
  retryNow(): void {
    if (this.stopped || this.socket) return;
    this.cancelTimer();
    this.connect();
  }

  private connect(): void {
    this.handlers.onLink({ kind: "connecting", attempt: this.failures + 1 });
    let socket: WebSocketLike;
    try {
      socket = this.around.open(this.url);
    } catch {
      this.again("the address cannot be used");
      return;
    }
    this.socket = socket;
    let live = false;
    this.cancel = this.around.after(FIRST_FRAME_MS, () => this.again("no answer"));
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      const frame = typeof event.data === "string" ? parseMessage(event.data) : null;
      if (!frame) return this.again("a message that cannot be read");
      if (!this.handlers.onFrame(frame)) return this.again("an update was missed");
      if (!live) {
        live = true;
        this.failures = 0;
        this.cancelTimer();
        this.handlers.onLink({ kind: "live", since: this.around.now() });
      }
    };
    socket.onclose = () => {
      if (this.socket === socket) this.again("the connection is lost");
    };
    socket.onerror = () => {
      if (this.socket === socket) this.again(live ? "the connection is lost" : "no connection");
    };
  }

  private again(reason: string): void {
    this.cancelTimer();
    this.drop();
    if (this.stopped) return;
    this.failures += 1;
    const wait = backoff(this.failures, this.around.random());
    this.handlers.onLink({ kind: "waiting", until: this.around.now() + wait, reason, attempt: this.failures });
    this.cancel = this.around.after(wait, () => {
      this.cancel = null;
      this.connect();
    });
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  private cancelTimer(): void {
    this.cancel?.();
    this.cancel = null;
  }
}
