import type { ConsumerSnapshot, Snapshot } from "../../api/types";
import { send } from "../../app/orders";

const find = (snapshot: Snapshot, id: string) => snapshot.consumers.find((one) => one.id === id);
const path = (id: string, order: string) => `consumers/${encodeURIComponent(id)}/${order}`;

/** Whether an operator's pause lies on a consumer. */
export const isPaused = (consumer: Pick<ConsumerSnapshot, "held">): boolean => consumer.held?.kind === "paused";

/** Stops reading all that a consumer owns. */
export const pause = (id: string) =>
  send({
    target: id,
    doing: "pausing",
    failed: `${id} was not paused`,
    path: path(id, "pause"),
    isDone: (snapshot) => isPaused(find(snapshot, id) ?? { held: null }),
  });

/** Reads on. */
export const resume = (id: string) =>
  send({
    target: id,
    doing: "resuming",
    failed: `${id} was not resumed`,
    path: path(id, "resume"),
    isDone: (snapshot) => !isPaused(find(snapshot, id) ?? { held: null }),
  });

/** Drains a child and starts it again. */
export const restart = (id: string, generation: number | null) =>
  send({
    target: id,
    doing: "restarting",
    failed: `${id} was not restarted`,
    path: `children/${encodeURIComponent(id)}/restart`,
    isDone: ({ children }) => {
      const child = children.find((one) => one.id === id);
      return child !== undefined && child.state === "running" && child.generation !== generation;
    },
  });

/** The name under which a change of numbers is pending. */
export const SCALE = "scale";

/** Changes how many consumers and writers there are. */
export const scale = (consumers: number, writers: number) =>
  send({
    target: SCALE,
    doing: "scaling",
    failed: "Nothing was scaled",
    path: "scale",
    body: { consumers, writers },
    isDone: (snapshot) => snapshot.consumers.length === consumers && snapshot.writers.count === writers,
  });
