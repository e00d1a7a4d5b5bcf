// What a page shows when drawing it failed: words and a way on, instead of nothing.

import { Component, type ComponentChildren } from "preact";
import { Icon, Panel } from "./parts";

export class Boundary extends Component<{ children: ComponentChildren }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static override getDerivedStateFromError(error: unknown): { error: Error } {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <main class="page" id="main" tabIndex={-1}>
        <Panel title="This page cannot be drawn">
          <div class="notice" role="alert">
            <Icon name="alert" size={18} />
            <div>
              <strong>Something came that this page does not understand</strong>
              <p>{error.message}</p>
              <button type="button" class="button" onClick={() => this.setState({ error: null })}>
                Draw it again
              </button>
            </div>
          </div>
        </Panel>
      </main>
    );
  }
}
