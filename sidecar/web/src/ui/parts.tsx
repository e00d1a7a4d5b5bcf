// Small parts that every page uses.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api/http";
import { store, useTopics } from "../state/store";
import { ago, amount, dateTime, middle } from "../util/format";
import { icons, type IconName } from "../util/icons";
import { to } from "../util/route";
import { useNow } from "../util/use";

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width={size} height={size} aria-hidden="true" focusable="false">
      <path d={icons[name]} />
    </svg>
  );
}

export function Panel(props: {
  title: string;
  class?: string;
  aside?: ComponentChildren;
  id?: string;
  children: ComponentChildren;
  flush?: boolean;
}) {
  const heading = `${props.id ?? props.title.toLowerCase().replaceAll(" ", "-")}-title`;
  return (
    <section class={`panel ${props.class ?? ""}`} aria-labelledby={heading} data-testid={props.id}>
      <header class="panel-head">
        <h2 id={heading}>{props.title}</h2>
        {props.aside && <div class="panel-aside">{props.aside}</div>}
      </header>
      <div class={props.flush ? "panel-body flush" : "panel-body"}>{props.children}</div>
    </section>
  );
}

/** How something stands, in a word and a colour. */
export function Badge({ tone, children }: { tone: string; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A key, hash or identifier: shortened, whole in its title, and copied by a click on the sign behind it. */
export function Name(props: { text: string; href?: string; full?: boolean; head?: number; tail?: number; plain?: boolean }) {
  const shown = props.full ? props.text : middle(props.text, props.head, props.tail);
  return (
    <span class={props.full ? "name full" : "name"}>
      {props.href ? (
        <a class="mono" href={props.href} title={props.text}>
          {shown}
        </a>
      ) : (
        <span class="mono" title={props.text}>
          {shown}
        </span>
      )}
      {!props.plain && <Copy text={props.text} />}
    </span>
  );
}

export function Copy({ text }: { text: string }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => setDone(false), 1_500);
    return () => clearTimeout(timer);
  }, [done]);
  // Only pages on https or localhost may write to the clipboard; elsewhere the text can still be selected.
  if (!navigator.clipboard) return null;
  return (
    <button
      type="button"
      class="icon-button small"
      aria-label={done ? "Copied" : `Copy ${middle(text, 12, 4)}`}
      title={done ? "Copied" : "Copy"}
      onClick={() => navigator.clipboard.writeText(text).then(() => setDone(true), () => setDone(false))}
    >
      <Icon name={done ? "check" : "copy"} size={13} />
    </button>
  );
}

/** An account or validator by its key: a validator's id where it is one. */
export function Who({ publicKey, full }: { publicKey: string; full?: boolean }) {
  const state = useTopics("validators");
  for (const validator of state.validators.values()) {
    if (validator.publicKey === publicKey) return <Name text={validator.id} href={to.validator(validator.id)} plain head={24} />;
  }
  return <Name text={publicKey} href={to.account(publicKey)} full={full ?? false} plain={!full} />;
}

export function Ago({ ms }: { ms: number | null | undefined }) {
  const now = useNow();
  return (
    <time dateTime={ms ? new Date(ms).toISOString() : undefined} title={dateTime(ms)}>
      {ago(ms, now)}
    </time>
  );
}

export function Amount({ text, currency, minorUnits }: { text: string; currency: string | undefined; minorUnits?: boolean }) {
  return (
    <span class="amount">
      {amount(text)} <span class="muted">{minorUnits ? `minor units of ${currency}` : currency}</span>
    </span>
  );
}

/** Names and values below each other. What has no value is left out. */
export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {rows
        .filter(([, value]) => value !== undefined && value !== null && value !== false && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** What is shown in place of something that is loading or could not be had. */
export function Unavailable(props: { what: string; error: Error | null; retry: () => void }) {
  if (!props.error) {
    return (
      <p class="empty" role="status">
        Loading {props.what}…
      </p>
    );
  }
  const gone = props.error instanceof ApiError && (props.error.status === 404 || props.error.status === 410);
  return (
    <div class="notice" role="alert">
      <Icon name={gone ? "search" : "alert"} size={18} />
      <div>
        <strong>{gone ? `No such ${props.what}` : `Cannot show the ${props.what}`}</strong>
        <p>{props.error.message}</p>
        {!gone && (
          <button type="button" class="button" onClick={props.retry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

/** One line above an answer that is old because asking again failed. */
export function Stale({ error }: { error: Error | null }) {
  if (!error) return null;
  return (
    <p class="stale" role="status">
      <Icon name="alert" size={14} /> {error.message}; this is what was known before.
    </p>
  );
}

/** A dialog over the page. Escape and a click beside it close it; focus goes back where it was. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      class={props.wide ? "dialog wide" : "dialog"}
      aria-label={props.title}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
      onClick={(event) => {
        if (event.target === element.current) props.onClose();
      }}
    >
      <div class="dialog-inner">
        <header class="panel-head">
          <h2>{props.title}</h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={props.onClose}>
            <Icon name="cross" />
          </button>
        </header>
        <div class="dialog-body">{props.children}</div>
      </div>
    </dialog>
  );
}

/** A table that scrolls in itself on narrow screens. */
export function Table(props: { head: ComponentChildren[]; children: ComponentChildren; label: string; class?: string }) {
  const { head, children, label } = props;
  return (
    <div class="table-wrap" role="region" aria-label={label} tabIndex={0}>
      <table class={props.class}>
        <thead>
          <tr>
            {head.map((cell, index) => (
              <th key={index} scope="col">
                {cell}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** Whether the stream is live, for what must not look fresh when it is not. */
export function useIsLive(): boolean {
  useTopics("link");
  return store.link.kind === "live";
}
