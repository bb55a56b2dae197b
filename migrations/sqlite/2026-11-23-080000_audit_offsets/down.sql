DROP TABLE audit_results;
DROP TABLE past_incarnations;
DROP TABLE audit_marks;
