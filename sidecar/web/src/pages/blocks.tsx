// The list of blocks, newest first; its first page follows the chain.

import { useEffect, useState } from "preact/hooks";
import { ledger, type Block } from "../api/ledger";
import { store, useTopics } from "../state/store";
import { count, dateTime, words } from "../util/format";
import { to, withCursor } from "../util/route";
import { useLoaded } from "../util/use";
import { Ago, Badge, Empty, Name, Panel, Stale, Table, Unavailable, Who } from "../ui/parts";
import { Pager } from "../ui/transactions";

const ROWS = 25;
/** The first page is asked for again at most so often, however fast blocks come. */
const FOLLOW_MS = 1_000;

/** The chain's height, as of at most `everyMs` ago: what a list that follows the chain asks again for. */
export function useSlowHeight(everyMs = FOLLOW_MS): number {
  const [height, setHeight] = useState(store.state.chain.height);
  useEffect(() => {
    const timer = setInterval(() => setHeight(store.state.chain.height), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return height;
}

export function Blocks({ cursor }: { cursor: string | null }) {
  const height = useSlowHeight();
  const loaded = useLoaded(`blocks ${cursor}`, (signal) => ledger.blocks(ROWS, cursor, signal), [cursor === null ? height : 0]);
  return (
    <main class="page" id="main" tabIndex={-1}>
      <h1 class="visually-hidden">Blocks</h1>
      <Panel title="Blocks" id="blocks" flush aside={cursor === null ? <span class="muted">newest first, follows the chain</span> : <a href={to.blocks}>newest</a>}>
        {loaded.data ? (
          <>
            <Stale error={loaded.error} />
            <BlockTable blocks={loaded.data.entries} />
            <Pager first={to.blocks} isFirst={cursor === null} next={loaded.data.next && withCursor(to.blocks, loaded.data.next)} />
          </>
        ) : (
          <Unavailable what="blocks" error={loaded.error} retry={loaded.reload} />
        )}
      </Panel>
    </main>
  );
}

function BlockTable({ blocks }: { blocks: Block[] }) {
  useTopics("chain");
  if (blocks.length === 0) return <Empty>No block yet.</Empty>;
  return (
    <Table label="Blocks" head={["Height", "When", "Producer", "Transactions", "Result", "Batches", "Hash"]}>
      {blocks.map((block) => (
        <tr key={block.height} data-testid="block-row">
          <td class="number">
            <a class="strong" href={to.block(block.height)}>
              {count(block.height)}
            </a>
          </td>
          <td class="nowrap" title={dateTime(block.timestamp)}>
            <Ago ms={block.timestamp} />
          </td>
          <td>
            <Who publicKey={block.producer} />
          </td>
          <td class="number">{count(block.txCount)}</td>
          <td>
            <Codes codes={block.codes} total={block.txCount} />
          </td>
          <td class="number">{count(block.batches.length)}</td>
          <td>
            <Name text={block.hash} href={to.block(block.height)} plain head={10} tail={6} />
          </td>
        </tr>
      ))}
    </Table>
  );
}

/** How the transactions of a block ended. */
export function Codes({ codes, total }: { codes: Block["codes"]; total: number }) {
  if (total === 0) return <span class="muted">empty</span>;
  const applied = codes.find((entry) => entry.code === "applied")?.count ?? 0;
  if (applied === total) return <Badge tone="green">all applied</Badge>;
  return (
    <span class="badges" title={codes.map((entry) => `${entry.count} ${words(entry.code)}`).join(", ")}>
      {applied > 0 && <Badge tone="green">{count(applied)} applied</Badge>}
      <Badge tone="red">{count(total - applied)} not</Badge>
    </span>
  );
}
