DROP TABLE audit_results, past_incarnations, audit_marks;
