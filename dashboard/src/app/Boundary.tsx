import { Component, type ReactNode } from "react";
import { Failure } from "../ui/Notice";

/** A page that breaks takes nothing else with it, and says so. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    return (
      <Failure
        what="This page broke. That is a mistake in drover's dashboard; nothing else is affected."
        error={this.state.error}
        onRetry={() => this.setState({ error: null })}
      />
    );
  }
}
