/** Where an event lies in the log. */
export interface Place {
  topic: string;
  partition: number;
  offset: number;
}

/** `topic/partition/offset`, as the address holds it. */
export const placeText = ({ topic, partition, offset }: Place): string => `${topic}/${partition}/${offset}`;

/** Reads `topic/partition/offset`; null when it is none. */
export function placeOf(text: string | null): Place | null {
  const found = /^\s*([A-Za-z0-9._-]{1,249})\/(\d{1,10})\/(\d{1,16})\s*$/.exec(text ?? "");
  const [, topic, partition, offset] = found ?? [];
  if (topic === undefined) return null;
  const place = { topic, partition: Number(partition), offset: Number(offset) };
  return place.partition <= 0x7fff_ffff && Number.isSafeInteger(place.offset) ? place : null;
}
