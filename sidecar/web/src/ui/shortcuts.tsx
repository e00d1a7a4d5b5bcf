// Keys: what they do, and the list that `?` shows.

import { useEffect } from "preact/hooks";
import { store } from "../state/store";
import { ALL } from "../state/history";
import { go, parseRoute, to } from "../util/route";
import { chaosToken, helpOpen, selected } from "../util/value";
import { nextTheme, SEARCH_ID } from "./header";
import { Dialog } from "./parts";

const LIST: [string[], string][] = [
  [["/"], "Search"],
  [["g", "o"], "Overview"],
  [["g", "b"], "Blocks"],
  [["g", "p"], "Pending"],
  [["g", "r"], "Registry"],
  [["g", "c"], "Chaos, in a devnet"],
  [["["], "The validator before; on a block, the block below"],
  [["]"], "The validator behind; on a block, the block above"],
  [["t"], "Light, dark or as the system says"],
  [["?"], "This list"],
  [["Esc"], "Close"],
];

/** How long the second key of two may take. */
const PAIR_MS = 1_200;

export function useShortcuts(): void {
  useEffect(() => {
    let pairUntil = 0;
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const isSecond = event.timeStamp < pairUntil;
      pairUntil = 0;
      if (isSecond) {
        const page = { o: to.overview, b: to.blocks, p: to.pending, r: to.registry, c: chaosToken.get() ? to.chaos : undefined }[event.key];
        if (page) go(page);
        return;
      }
      if (event.key === "g") pairUntil = event.timeStamp + PAIR_MS;
      else if (event.key === "?") helpOpen.set(true);
      else if (event.key === "t") nextTheme();
      else if (event.key === "[") step(-1);
      else if (event.key === "]") step(1);
      else if (event.key === "/") {
        event.preventDefault();
        document.getElementById(SEARCH_ID)?.focus();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.matches("input, textarea, select") || target.isContentEditable);
}

function step(by: number): void {
  const route = parseRoute(location.hash);
  if (route.page === "block") {
    if (route.height + by >= 1) go(to.block(route.height + by));
    return;
  }
  const ids = [ALL, ...[...store.state.validators.keys()].sort()];
  const at = Math.max(0, ids.indexOf(selected.get()));
  selected.set(ids[(at + by + ids.length) % ids.length] ?? ALL);
}

export function Shortcuts() {
  return (
    <Dialog title="Keyboard shortcuts" onClose={() => helpOpen.set(false)}>
      <dl class="shortcuts">
        {LIST.map(([keys, what]) => (
          <div key={what}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
