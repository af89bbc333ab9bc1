-- Airflow's own database, beside the sample's.
CREATE DATABASE airflow;
