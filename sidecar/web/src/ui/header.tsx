// The top of every page: where to go, search, and how the network stands.

import { useRef, useState } from "preact/hooks";
import { store, useTopics } from "../state/store";
import { count, plural, short } from "../util/format";
import { chooseTheme, chosenTheme, type Theme } from "../util/prefs";
import { go, searchRoute, to, type Route } from "../util/route";
import { useNow } from "../util/use";
import { chaosToken, helpOpen, signer, useValue } from "../util/value";
import { Icon } from "./parts";

const SECTION: Partial<Record<Route["page"], string>> = {
  overview: "Overview",
  validator: "Overview",
  blocks: "Blocks",
  block: "Blocks",
  transaction: "Blocks",
  account: "Blocks",
  pending: "Pending",
  registry: "Registry",
  chaos: "Chaos",
};

export function Header({ route }: { route: Route }) {
  const chaos = useValue(chaosToken);
  const waiting = useTopics("mesh").nodeCount.pending;
  const links: [string, string, number][] = [
    ["Overview", to.overview, 0],
    ["Blocks", to.blocks, 0],
    ["Pending", to.pending, 0],
    ["Registry", to.registry, waiting],
  ];
  if (chaos) links.push(["Chaos", to.chaos, 0]);
  return (
    <header class="top">
      <div class="top-row">
        <a class="brand" href={to.overview} aria-label="Tana network, overview">
          <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
            <g class="brand-lines">
              <path d="M16 7 7 23h18zM16 7v10M7 23l9-6 9 6" />
            </g>
            <circle class="brand-leader" cx="16" cy="7" r="3.6" />
            <circle class="brand-node" cx="7" cy="23" r="3.2" />
            <circle class="brand-node" cx="25" cy="23" r="3.2" />
            <circle class="brand-node" cx="16" cy="17" r="2.6" />
          </svg>
          <span>tana</span>
        </a>
        <nav class="nav" aria-label="Pages">
          {links.map(([name, href, mark]) => (
            <a key={name} href={href} aria-current={SECTION[route.page] === name ? "page" : undefined}>
              {name}
              {mark > 0 && (
                <span class="mark" title={`${plural(mark, "node")} waiting for approval`}>
                  {mark}
                </span>
              )}
            </a>
          ))}
        </nav>
        <Search />
        <div class="tools">
          <KeyChip />
          <ThemeButton />
          <button type="button" class="icon-button" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick={() => helpOpen.set(true)}>
            <Icon name="help" size={18} />
          </button>
        </div>
      </div>
      <Chips />
    </header>
  );
}

function Chips() {
  const state = useTopics("validators", "pending", "chain", "link");
  const validators = [...state.validators.values()];
  const healthy = validators.filter((validator) => validator.healthy).length;
  const well = healthy === validators.length;
  return (
    <div class="chips" role="group" aria-label="The network now">
      <div class={well ? "chip" : "chip bad"} data-testid="chip-validators" title={`${healthy} of ${plural(validators.length, "validator")} healthy`}>
        <b>{well ? validators.length : `${healthy}/${validators.length}`}</b> <span>validators</span>
      </div>
      <div class="chip" data-testid="chip-height" title={`final: ${count(state.chain.finalizedHeight)}`}>
        <span>height</span> <b>{count(state.chain.height)}</b>
      </div>
      <a class="chip" data-testid="chip-pending" href={to.pending}>
        <span>pending</span> <b>{count(state.pendingCount)}</b>
      </a>
      <div class="chip" data-testid="chip-tps" title={`${count(state.chain.appliedTotal)} applied in all`}>
        <b>{short(state.chain.tps)}</b> <span>tx/s</span>
      </div>
      <div class="chip wide-only">
        <b>{state.chain.blocksPerSecond.toFixed(1)}</b> <span>blocks/s</span>
      </div>
      <div class="chip wide-only">
        <span>epoch</span> <b>{count(state.chain.epoch)}</b>
      </div>
      <ConnectionChip />
    </div>
  );
}

function ConnectionChip() {
  useTopics("link");
  const now = useNow(500);
  const link = store.link;
  const words = {
    live: "live",
    connecting: link.kind === "connecting" && link.attempt > 1 ? `connecting, try ${link.attempt}` : "connecting",
    waiting: link.kind === "waiting" ? `${link.reason}; again in ${Math.max(0, Math.ceil((link.until - now) / 1_000))} s` : "",
  }[link.kind];
  return (
    <div class={`chip connection ${link.kind}`} data-testid="connection" role="status" title={store.url}>
      <i class="dot" />
      <span>{words}</span>
      {link.kind === "waiting" && (
        <button type="button" class="link-button" onClick={() => store.retryNow()}>
          now
        </button>
      )}
    </div>
  );
}

export const SEARCH_ID = "search";

function Search() {
  const [bad, setBad] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    const route = searchRoute(input.current?.value ?? "");
    setBad(route === null);
    if (!route || !input.current) return;
    input.current.value = "";
    input.current.blur();
    go(route);
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <Icon name="search" />
      <input
        ref={input}
        id={SEARCH_ID}
        type="search"
        aria-label="Search: account key, @username, transaction, block height or hash"
        aria-invalid={bad}
        placeholder="Key, @name, tx id, height"
        autocomplete="off"
        spellcheck={false}
        maxLength={100}
        onInput={() => setBad(false)}
        onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
      />
      <kbd aria-hidden="true">/</kbd>
      {bad && (
        <p class="search-hint" role="alert">
          A height, 64 digits, a key ed25519_…, or an @username
        </p>
      )}
    </form>
  );
}

function KeyChip() {
  const key = useValue(signer);
  if (!key) return null;
  return (
    <a class="key-chip" href={to.registry} title={`Signing as ${key.printed}, in memory only`}>
      <Icon name="key" size={14} /> <span>{key.username || key.printed.slice(8, 16)}</span>
    </a>
  );
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

export function nextTheme(): Theme {
  const next = NEXT[chosenTheme()];
  chooseTheme(next);
  return next;
}

function ThemeButton() {
  const [theme, setTheme] = useState(chosenTheme());
  const icon = { system: "system", light: "sun", dark: "moon" } as const;
  const label = `Colours: ${theme === "system" ? "as the system says" : theme}`;
  return (
    <button type="button" class="icon-button" aria-label={label} title={`${label} (t)`} onClick={() => setTheme(nextTheme())}>
      <Icon name={icon[theme]} size={18} />
    </button>
  );
}
