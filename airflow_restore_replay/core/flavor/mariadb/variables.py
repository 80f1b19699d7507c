"""The class of each variable of each supported release of MariaDB; see :mod:`..variables` for the classes."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.variables import STOPWORD_FILE, Refusal, Variables, because

_PRIMARYS = """
alter_algorithm aria_page_checksum automatic_sp_privileges block_encryption_mode character_set_collations
character_set_filesystem character_set_server collation_server default_regex_flags default_storage_engine
default_week_format div_precision_increment explicit_defaults_for_timestamp ft_max_word_len ft_min_word_len
group_concat_max_len innodb_autoinc_lock_mode innodb_default_row_format innodb_file_per_table
innodb_ft_enable_stopword innodb_ft_max_token_size innodb_ft_min_token_size innodb_ft_server_stopword_table
innodb_ft_user_stopword_table innodb_instant_alter_column_allowed innodb_page_size lc_time_names
lower_case_table_names mhnsw_default_distance mhnsw_default_m myisam_block_size myisam_data_pointer_size
mysql56_temporal_format new_mode old_mode standard_compliant_cte system_time_zone
system_versioning_insert_history time_zone
"""

_FILES = """
aria_block_size innodb_data_file_path innodb_undo_tablespaces
"""

_OURS = {
    **because(
        "a place of the node's own",
        """
        aria_log_dir_path basedir datadir general_log_file innodb_data_home_dir
        innodb_log_group_home_dir innodb_temp_data_file_path innodb_tmpdir innodb_undo_directory
        log_error pid_file plugin_dir relay_log relay_log_basename relay_log_index
        relay_log_info_file secure_file_priv slave_load_tmpdir slow_query_log_file socket tmpdir
        """,
    ),
    **because(
        "isolation",
        """
        bind_address event_scheduler general_log have_symlink init_file local_infile log_bin
        max_connections port read_only skip_external_locking skip_name_resolve skip_networking
        slow_query_log
        """,
    ),
    **because(
        "replication without loss",
        """
        gtid_strict_mode log_slave_updates max_allowed_packet relay_log_purge relay_log_recovery
        server_id slave_exec_mode slave_max_allowed_packet slave_net_timeout
        slave_run_triggers_for_rbr slave_sql_verify_checksum slave_transaction_retries
        slave_type_conversions
        """,
    ),
    **because(
        "accepts all that the primary accepted",
        """
        innodb_force_primary_key innodb_read_only_compressed innodb_strict_mode
        log_bin_trust_function_creators system_versioning_alter_history
        """,
    ),
    **because(
        "accepts all that the primary accepted, and ignores DATA DIRECTORY",
        """
        sql_mode
        """,
    ),
    **because(
        "speed, and small snapshots",
        """
        innodb_buffer_pool_dump_at_shutdown innodb_buffer_pool_load_at_startup
        innodb_buffer_pool_size innodb_doublewrite innodb_flush_log_at_trx_commit
        innodb_log_buffer_size innodb_log_file_size sync_frm sync_master_info sync_relay_log
        sync_relay_log_info
        """,
    ),
    **because(
        "of written pages; each is readable",
        """
        innodb_checksum_algorithm
        """,
    ),
    **because(
        "memory",
        """
        performance_schema
        """,
    ),
    **because(
        "diagnosis",
        """
        log_warnings
        """,
    ),
    **because(
        "of written pages; each is readable where its provider is installed",
        """
        innodb_compression_algorithm
        """,
    ),
    **because(
        "encrypted tables are refused",
        """
        aria_encrypt_tables encrypt_binlog innodb_default_encryption_key_id innodb_encrypt_log
        innodb_encrypt_tables
        """,
    ),
}

_REFUSED = {
    "ft_stopword_file": STOPWORD_FILE,
    "enforce_storage_engine": Refusal(
        followed="",
        why="a node replaces the engine of no table",
        fix="SET GLOBAL enforce_storage_engine=NULL, or name that engine in each CREATE TABLE.",
    ),
}

_IRRELEVANT_FAMILIES = """
aria_* binlog_* column_compression_* deadlock_* gtid_* have_* histogram_* idle_* innodb_background_scrub_*
innodb_buf_dump_* innodb_buffer_pool_* innodb_defragment* innodb_io_capacity* innodb_log_*
innodb_max_purge_lag* innodb_monitor_* innodb_scrub_* innodb_stats_* innodb_status_* key_cache_* log_slow_*
max_* optimizer_* performance_schema_* query_cache_* replicate_* report_* rpl_semi_sync_* session_track_*
slave_* ssl_* tcp_* thread_pool_* version_* wsrep_*
"""

_IRRELEVANT = """
allow_suspicious_udfs analyze_max_length analyze_sample_percentage auto_increment_increment
auto_increment_offset autocommit back_log big_tables bulk_insert_buffer_size character_set_client
character_set_connection character_set_database character_set_results character_set_system
character_sets_dir check_constraint_checks collation_connection collation_database completion_type
concurrent_insert connect_timeout core_file date_format datetime_format debug_no_thread_alarm
default_password_lifetime default_tmp_storage_engine delay_key_write delayed_insert_limit
delayed_insert_timeout delayed_queue_size disconnect_on_expired_password encrypt_tmp_disk_tables
encrypt_tmp_files eq_range_index_dive_limit expensive_subquery_limit expire_logs_days extra_max_connections
extra_port flush flush_time foreign_key_checks ft_boolean_syntax ft_query_expansion_limit host_cache_size
hostname ignore_builtin_innodb ignore_db_dirs in_predicate_conversion_threshold init_connect init_slave
innodb_adaptive_flushing innodb_adaptive_flushing_lwm innodb_adaptive_hash_index
innodb_adaptive_hash_index_cells innodb_adaptive_hash_index_parts innodb_adaptive_max_sleep_delay
innodb_alter_copy_bulk innodb_autoextend_increment innodb_change_buffer_max_size innodb_change_buffering
innodb_cmp_per_index_enabled innodb_commit_concurrency innodb_compression_default
innodb_compression_failure_threshold_pct innodb_compression_level innodb_compression_pad_pct_max
innodb_concurrency_tickets innodb_data_file_buffering innodb_data_file_write_through innodb_deadlock_detect
innodb_deadlock_report innodb_disable_sort_file_cache innodb_encrypt_temporary_tables
innodb_encryption_rotate_key_age innodb_encryption_rotation_iops innodb_encryption_threads
innodb_fast_shutdown innodb_fatal_semaphore_wait_threshold innodb_file_format innodb_fill_factor
innodb_flush_log_at_timeout innodb_flush_method innodb_flush_neighbors innodb_flush_sync
innodb_flushing_avg_loops innodb_force_load_corrupted innodb_force_recovery innodb_ft_aux_table
innodb_ft_cache_size innodb_ft_enable_diag_print innodb_ft_num_word_optimize innodb_ft_result_cache_limit
innodb_ft_sort_pll_degree innodb_ft_total_cache_size innodb_immediate_scrub_data_uncompressed
innodb_index_shrink innodb_large_prefix innodb_linux_aio innodb_lock_schedule_algorithm
innodb_lock_wait_timeout innodb_lru_flush_size innodb_lru_scan_depth innodb_max_dirty_pages_pct
innodb_max_dirty_pages_pct_lwm innodb_max_undo_log_size innodb_numa_interleave innodb_old_blocks_pct
innodb_old_blocks_time innodb_online_alter_log_max_size innodb_open_files innodb_optimize_fulltext_only
innodb_page_cleaners innodb_prefix_index_cluster_optimization innodb_print_all_deadlocks
innodb_purge_batch_size innodb_purge_rseg_truncate_frequency innodb_purge_threads innodb_random_read_ahead
innodb_read_ahead_threshold innodb_read_io_threads innodb_read_only innodb_replication_delay
innodb_rollback_on_timeout innodb_snapshot_isolation innodb_sort_buffer_size innodb_spin_wait_delay
innodb_sync_array_size innodb_sync_spin_loops innodb_table_locks innodb_thread_concurrency
innodb_thread_sleep_delay innodb_truncate_temporary_tablespace_now innodb_undo_log_truncate innodb_undo_logs
innodb_use_atomic_writes innodb_use_native_aio innodb_version innodb_write_io_threads interactive_timeout
join_buffer_size join_buffer_space_limit join_cache_level keep_files_on_create key_buffer_size
large_files_support large_page_size large_pages lc_messages lc_messages_dir license lock_wait_timeout
locked_in_memory log_bin_basename log_bin_compress log_bin_compress_min_len log_bin_index
log_disabled_statements log_output log_queries_not_using_indexes log_tc_size long_query_time
low_priority_updates lower_case_file_system master_verify_checksum metadata_locks_cache_size
metadata_locks_hash_instances mhnsw_ef_search mhnsw_max_cache_size min_examined_row_limit mrr_buffer_size
myisam_max_sort_file_size myisam_mmap_size myisam_recover_options myisam_repair_threads
myisam_sort_buffer_size myisam_stats_method myisam_use_mmap net_buffer_length net_read_timeout
net_retry_count net_write_timeout note_verbosity old old_alter_table old_passwords open_files_limit
plugin_maturity preload_buffer_size profiling profiling_history_size progress_report_time protocol_version
proxy_protocol_networks query_alloc_block_size query_prealloc_size range_alloc_block_size
read_binlog_speed_limit read_buffer_size read_rnd_buffer_size redirect_url relay_log_space_limit
require_secure_transport rowid_merge_buff_size secure_auth secure_timestamp server_uid skip_grant_tables
skip_show_database slow_launch_time sort_buffer_size sql_auto_is_null sql_big_selects sql_buffer_result
sql_if_exists sql_log_bin sql_log_off sql_notes sql_quote_show_create sql_safe_updates sql_select_limit
sql_slave_skip_counter sql_warnings storage_engine stored_program_cache strict_password_validation
sync_binlog system_versioning_asof table_definition_cache table_open_cache table_open_cache_instances
thread_cache_size thread_handling thread_stack time_format tls_version tmp_disk_table_size
tmp_memory_table_size tmp_table_size transaction_alloc_block_size transaction_isolation
transaction_prealloc_size transaction_read_only tx_isolation tx_read_only unique_checks
updatable_views_with_limit use_stat_tables userstat version wait_timeout
"""

VARIABLES = Variables(
    primarys=_PRIMARYS.split(),
    files=_FILES.split(),
    empty=("old_mode", "new_mode", "character_set_collations"),
    ours=_OURS,
    refused=_REFUSED,
    irrelevant=[*_IRRELEVANT_FAMILIES.split(), *_IRRELEVANT.split()],
    plugins=("auth_ed25519", "auth_parsec", "ha_archive", "ha_blackhole"),
)
