import css from "./Brand.module.css";

/** The mark and the name. */
export function Brand() {
  return (
    <span className={css.brand}>
      <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
        <rect width="32" height="32" rx="7" fill="#1f6f5c" />
        <path d="M7 10h8l5 6-5 6H7M20 10h5M23 16h3M20 22h5" fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" strokeLinejoin="round" />
      </svg>
      drover
    </span>
  );
}
