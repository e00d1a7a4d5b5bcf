import { describe, expect, it } from "vitest";
import type { Stage, Validator } from "../src/state/frame";
import { ALL, History, SAMPLES_MAX, type Sample } from "../src/state/history";
import { averageStages, bottleneck, mergeStages } from "../src/ui/pipeline";
import { ledgerBases, streamUrl } from "../src/api/places";
import { parseRoute, searchRoute, to, withCursor } from "../src/util/route";

const at = (search = "", port = "8190", protocol = "http:") => ({ protocol, hostname: "10.0.0.5", port, search });

describe("where things are", () => {
  it("the stream is one port up, or where the address says", () => {
    expect(streamUrl(at())).toBe("ws://10.0.0.5:8191/");
    expect(streamUrl(at("", "", "https:"))).toBe("wss://10.0.0.5:8191/");
    expect(streamUrl(at("?ws=9991"))).toBe("ws://10.0.0.5:9991/");
    expect(streamUrl(at("?ws=other:1"))).toBe("ws://other:1");
    expect(streamUrl(at("?ws=wss://a.b/c"))).toBe("wss://a.b/c");
  });

  it("ledgers are those of the registry, or where the address says", () => {
    expect(ledgerBases(at(), [])).toEqual(["http://10.0.0.5:8080"]);
    const on = (host: string, port: number) => ({ host, port });
    expect(ledgerBases(at(), [on("127.0.0.1", 8081), on("10.0.0.5", 8080), on("localhost", 8081)])).toEqual(["http://10.0.0.5:8080", "http://10.0.0.5:8081"]);
    const far = [on("ws://node2.tail.net:9000/x", 8080), on("fd7a::2", 8080), on("[::1]:9000", 8082), on("evil/@x?y", 80), on("a b", 80)];
    expect(ledgerBases(at(), far)).toEqual(["http://10.0.0.5:8082", "http://[fd7a::2]:8080", "http://evil:80", "http://node2.tail.net:8080"]);
    expect(ledgerBases(at("?ledger=8099"), [on("127.0.0.1", 8080)])).toEqual(["http://10.0.0.5:8099"]);
    expect(ledgerBases(at("?ledger=https://l.example/"), [on("127.0.0.1", 8080)])).toEqual(["https://l.example"]);
  });
});

describe("routes", () => {
  it("go there and back", () => {
    expect(parseRoute("")).toEqual({ page: "overview" });
    expect(parseRoute(to.block(7))).toEqual({ page: "block", height: 7, cursor: null });
    expect(parseRoute(withCursor(to.account("@a/b"), "17-3"))).toEqual({ page: "account", name: "@a/b", cursor: "17-3" });
    expect(parseRoute("#/blocks/x")).toEqual({ page: "unknown" });
    expect(parseRoute("#/a/b/c")).toEqual({ page: "unknown" });
    expect(parseRoute("#/transactions/%E0%A4%A")).toEqual({ page: "transaction", id: "%E0%A4%A" });
  });

  it("are found by what people type", () => {
    expect(searchRoute(" 1,204 ")).toBe(to.block(1204));
    expect(searchRoute("#12")).toBe(to.block(12));
    expect(searchRoute("@Alice")).toBe(to.account("@alice"));
    expect(searchRoute("alice")).toBe(to.account("@alice"));
    expect(searchRoute(`ed25519_${"AB".repeat(32)}`)).toBe(to.account(`ed25519_${"ab".repeat(32)}`));
    expect(searchRoute("val_12ab")).toBe(to.validator("val_12ab"));
    expect(searchRoute("cd".repeat(32))).toBe(to.search("cd".repeat(32)));
    expect(searchRoute("<img src=x>")).toBeNull();
    expect(searchRoute("")).toBeNull();
  });
});

describe("the pipeline", () => {
  const stage = (name: string, busy: number, output = 0, transactionsPerSecond = 100): Stage => ({ name, busy, input: 1 - busy - output, output, transactionsPerSecond });

  it("names the stage that holds up the others", () => {
    expect(bottleneck([stage("verify", 0.1), stage("execute", 0.3)])).toEqual({ name: "execute", isBottleneck: false });
    expect(bottleneck([stage("verify", 0.1), stage("execute", 0.8)])).toEqual({ name: "execute", isBottleneck: true });
    expect(bottleneck([stage("verify", 0.1, 0.6), stage("execute", 0.5)])).toEqual({ name: "execute", isBottleneck: true });
    expect(bottleneck([stage("execute", 0.5), stage("commit", 0.1, 0.9)])).toEqual({ name: "execute", isBottleneck: false });
    expect(bottleneck([stage("verify", 0)])).toBeNull();
    expect(bottleneck([])).toBeNull();
  });

  it("has one box a stage, whoever does its work", () => {
    expect(mergeStages([stage("verify", 0.2, 0, 10), stage("verify", 0.4, 0.2, 30), stage("lane", 0.1)])).toMatchObject([
      { name: "verify", output: 0.1, transactionsPerSecond: 40 },
      { name: "lane", busy: 0.1 },
    ]);
    const validator = (stages: Stage[], online = true) => ({ online, stages }) as Validator;
    const mean = averageStages([validator([stage("lane", 0.2)]), validator([stage("lane", 0.6)]), validator([stage("lane", 1)], false)]);
    expect(mean).toHaveLength(1);
    expect(mean[0]?.busy).toBeCloseTo(0.4);
  });
});

describe("history", () => {
  const sample = (applied: number): Sample => ({ applied, final: null, finalP50: null, finalP99: null, appliedP99: null });

  it("keeps columns as long as its times, with holes, and within its bound", () => {
    const history = new History();
    history.push(1_000, new Map([[ALL, sample(1)]]));
    history.push(2_000, new Map([[ALL, sample(2)], ["val_b", sample(7)]]));
    expect(history.times).toEqual([1, 2]);
    expect(history.columns("val_b", ["applied"])).toEqual([[null, 7]]);
    expect(history.columns("val_unknown", ["applied"])).toEqual([[null, null]]);
    for (let i = 0; i < SAMPLES_MAX + 5; i++) history.push(3_000 + i, new Map([[ALL, sample(i)]]));
    expect(history.times).toHaveLength(SAMPLES_MAX);
    expect(history.columns(ALL, ["applied"])[0]).toHaveLength(SAMPLES_MAX);
    expect(history.columns("val_b", ["applied"])[0]?.every((value) => value === null)).toBe(true);
  });
});
