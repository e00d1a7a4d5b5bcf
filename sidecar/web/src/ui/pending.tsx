// Transactions that wait for a block, as the stream tells them: the newest, and how many there are.

import { useState } from "preact/hooks";
import type { Pending } from "../state/frame";
import { useTopics } from "../state/store";
import { count, dateTime, middle, words } from "../util/format";
import { to } from "../util/route";
import { Ago, Dialog, Empty, Facts, Name, Panel, Who } from "./parts";

export function PendingPanel({ rows = 50 }: { rows?: number }) {
  const state = useTopics("pending");
  const [open, setOpen] = useState<Pending | null>(null);
  const newest = state.pending.slice(-rows).reverse();
  const more = state.pendingCount - newest.length;
  return (
    <Panel title="Pending" class="pending" id="pending" flush aside={<span class="muted">{count(state.pendingCount)} waiting for a block</span>}>
      {newest.length === 0 && <Empty>{more > 0 ? "The validators tell how many wait, not which." : "Nothing waits for a block."}</Empty>}
      <ul class="rows">
        {newest.map((pending) => (
          <li key={pending.id} class="row">
            <button type="button" class="row-main pending-row" onClick={() => setOpen(pending)}>
              <span>{words(pending.type)}</span>
              <span class="mono muted">{middle(pending.id, 10, 6)}</span>
              <span class="row-end small muted">
                <Ago ms={pending.timestamp} />
              </span>
            </button>
          </li>
        ))}
      </ul>
      {more > 0 && newest.length > 0 && <p class="rows-more muted">and {count(more)} more</p>}
      {open && <PendingDialog pending={open} onClose={() => setOpen(null)} />}
    </Panel>
  );
}

function PendingDialog({ pending, onClose }: { pending: Pending; onClose: () => void }) {
  return (
    <Dialog title={`Pending ${words(pending.type)}`} onClose={onClose}>
      <Facts
        rows={[
          ["id", <Name text={pending.id} full />],
          ["type", words(pending.type)],
          ["from", pending.from && <Who publicKey={pending.from} full />],
          ["to", pending.to && <Who publicKey={pending.to} full />],
          ["made", dateTime(pending.timestamp)],
        ]}
      />
      <p>
        <a class="button" href={to.transaction(pending.id)} onClick={onClose}>
          Follow it
        </a>
      </p>
    </Dialog>
  );
}
