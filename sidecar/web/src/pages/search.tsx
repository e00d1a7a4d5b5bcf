// 64 digits may be a transaction, a block's hash or a key: each is asked for, and the page goes where there is one.

import { useEffect } from "preact/hooks";
import { ApiError } from "../api/http";
import { ledger } from "../api/ledger";
import { to } from "../util/route";
import { useLoaded } from "../util/use";
import { Panel, Unavailable } from "../ui/parts";

/** Where these digits lead; throws when nothing has them or it could not be asked. */
async function find(digits: string, signal: AbortSignal): Promise<string> {
  const kinds = [
    () => ledger.transaction(digits, signal).then((found) => to.transaction(found.id)),
    () => ledger.blockByHash(digits, signal).then((found) => to.block(found.height)),
    () => ledger.user(`ed25519_${digits}`, signal).then((found) => to.account(found.publicKey)),
  ];
  const outcomes = await Promise.allSettled(kinds.map((kind) => kind()));
  const found = outcomes.find((outcome) => outcome.status === "fulfilled");
  if (found) return found.value;
  const broken = outcomes.find((outcome) => outcome.status === "rejected" && !(outcome.reason instanceof ApiError && outcome.reason.status === 404));
  throw broken?.status === "rejected" ? broken.reason : new ApiError(404, "not_found", "no transaction, block or account has these digits");
}

export function SearchPage({ text }: { text: string }) {
  const loaded = useLoaded(`search ${text}`, (signal) => find(text, signal));
  useEffect(() => {
    // In place of the search, so that "back" leads to where it was asked for.
    if (loaded.data) location.replace(`${location.pathname}${location.search}${loaded.data}`);
  }, [loaded.data]);
  return (
    <main class="page" id="main" tabIndex={-1}>
      <div class="page-head">
        <h1>Search</h1>
      </div>
      <Panel title={text.length > 24 ? `${text.slice(0, 24)}…` : text} id="search-result">
        <Unavailable what="transaction, block or account" error={loaded.error} retry={loaded.reload} />
      </Panel>
    </main>
  );
}
