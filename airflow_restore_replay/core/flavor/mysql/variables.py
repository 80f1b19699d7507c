"""The class of each variable of each supported release of MySQL; see :mod:`..variables` for the classes."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.variables import STOPWORD_FILE, Refusal, Variables, because

_PRIMARYS = """
automatic_sp_privileges block_encryption_mode character_set_filesystem character_set_server collation_server
default_collation_for_utf8mb4 default_storage_engine default_week_format div_precision_increment
enable_cascade_triggers explicit_defaults_for_timestamp ft_max_word_len ft_min_word_len group_concat_max_len
innodb_autoinc_lock_mode innodb_default_row_format innodb_file_per_table innodb_ft_enable_stopword
innodb_ft_max_token_size innodb_ft_min_token_size innodb_ft_server_stopword_table
innodb_ft_user_stopword_table innodb_native_foreign_keys innodb_page_size lc_time_names
lower_case_table_names myisam_data_pointer_size ngram_token_size partial_revokes password_history
password_reuse_interval system_time_zone time_zone
"""

_FILES = """
innodb_data_file_path
"""

_OURS = {
    **because(
        "a place of the node's own",
        """
        basedir datadir general_log_file innodb_data_home_dir innodb_doublewrite_dir
        innodb_log_group_home_dir innodb_redo_log_archive_dirs innodb_temp_data_file_path
        innodb_temp_tablespaces_dir innodb_tmpdir innodb_undo_directory log_error pid_file
        plugin_dir relay_log relay_log_basename relay_log_index replica_load_tmpdir secure_file_priv
        slave_load_tmpdir slow_query_log_file socket tmpdir
        """,
    ),
    **because(
        "isolation",
        """
        bind_address event_scheduler general_log init_file local_infile log_bin max_connections
        persisted_globals_load port read_only skip_name_resolve skip_networking slow_query_log
        """,
    ),
    **because(
        "replication without loss",
        """
        enforce_gtid_consistency gtid_mode log_replica_updates log_slave_updates max_allowed_packet
        relay_log_purge relay_log_recovery replica_exec_mode replica_max_allowed_packet
        replica_net_timeout replica_preserve_commit_order replica_sql_verify_checksum
        replica_transaction_retries replica_type_conversions server_id skip_replica_start
        skip_slave_start slave_exec_mode slave_max_allowed_packet slave_net_timeout
        slave_preserve_commit_order slave_sql_verify_checksum slave_transaction_retries
        slave_type_conversions
        """,
    ),
    **because(
        "accepts all that the primary accepted",
        """
        disabled_storage_engines innodb_strict_mode log_bin_trust_function_creators
        restrict_fk_on_non_standard_key sql_require_primary_key table_encryption_privilege_check
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
        innodb_log_buffer_size innodb_redo_log_capacity sync_relay_log
        """,
    ),
    **because(
        "of written pages; each is readable",
        """
        innodb_checksum_algorithm
        """,
    ),
    **because(
        "no secrets in the data",
        """
        auto_generate_certs caching_sha2_password_auto_generate_rsa_keys
        sha256_password_auto_generate_rsa_keys
        """,
    ),
    **because(
        "the binary log has the column",
        """
        sql_generate_invisible_primary_key
        """,
    ),
    **because(
        "the binary log names the plugin",
        """
        authentication_policy default_authentication_plugin
        """,
    ),
    **because(
        "diagnosis",
        """
        log_error_verbosity
        """,
    ),
    **because(
        "encrypted tables are refused",
        """
        innodb_redo_log_encrypt innodb_undo_log_encrypt
        """,
    ),
}

_REFUSED = {
    "ft_stopword_file": STOPWORD_FILE,
    "default_table_encryption": Refusal(
        followed="OFF",
        why="a node has no keyring",
        fix="SET PERSIST default_table_encryption=OFF; encrypted tables cannot be backed up.",
    ),
}

_IRRELEVANT_FAMILIES = """
admin_* binlog_* caching_sha2_password_* clone_* connection_memory_* global_connection_memory_*
group_replication_* gtid_* have_* innodb_api_* innodb_buffer_pool_* innodb_doublewrite_* innodb_io_capacity*
innodb_log_* innodb_max_purge_lag* innodb_monitor_* innodb_stats_* innodb_status_* key_cache_* log_slow_*
max_* mysqlx* optimizer_* performance_schema_* replica_* report_* rpl_* session_track_* sha256_password_*
slave_* ssl_* temptable_* tls_* version_*
"""

_IRRELEVANT = """
activate_all_roles_on_login activate_mandatory_roles auto_increment_increment auto_increment_offset
autocommit avoid_temporal_upgrade back_log big_tables build_id bulk_insert_buffer_size character_set_client
character_set_connection character_set_database character_set_results character_set_system
character_sets_dir check_proxy_users collation_connection collation_database completion_type
concurrent_insert connect_timeout container_aware core_file create_admin_listener_thread
cte_max_recursion_depth default_password_lifetime default_tmp_storage_engine delay_key_write
delayed_insert_limit delayed_insert_timeout delayed_queue_size disconnect_on_expired_password
enable_secondary_engine_statistics end_markers_in_json eq_range_index_dive_limit expire_logs_days
explain_format explain_json_format_version external_table_secondary_storage_engine
external_table_storage_engine flush flush_time foreign_key_checks ft_boolean_syntax ft_query_expansion_limit
generated_random_password_length histogram_generation_max_mem_size host_cache_size hostname
information_schema_stats_expiry init_connect init_replica init_slave innodb_adaptive_flushing
innodb_adaptive_flushing_lwm innodb_adaptive_hash_index innodb_adaptive_hash_index_parts
innodb_adaptive_max_sleep_delay innodb_autoextend_increment innodb_change_buffer_max_size
innodb_change_buffering innodb_cmp_per_index_enabled innodb_commit_concurrency
innodb_compression_failure_threshold_pct innodb_compression_level innodb_compression_pad_pct_max
innodb_concurrency_tickets innodb_ddl_buffer_size innodb_ddl_threads innodb_deadlock_detect
innodb_dedicated_server innodb_directories innodb_disable_sort_file_cache innodb_extend_and_initialize
innodb_fast_shutdown innodb_fill_factor innodb_flush_log_at_timeout innodb_flush_method
innodb_flush_neighbors innodb_flush_sync innodb_flushing_avg_loops innodb_force_load_corrupted
innodb_force_recovery innodb_fsync_threshold innodb_ft_aux_table innodb_ft_cache_size
innodb_ft_enable_diag_print innodb_ft_num_word_optimize innodb_ft_result_cache_limit
innodb_ft_sort_pll_degree innodb_ft_total_cache_size innodb_idle_flush_pct innodb_lock_wait_timeout
innodb_log_file_size innodb_log_files_in_group innodb_lru_scan_depth innodb_max_dirty_pages_pct
innodb_max_dirty_pages_pct_lwm innodb_max_undo_log_size innodb_numa_interleave innodb_old_blocks_pct
innodb_old_blocks_time innodb_online_alter_log_max_size innodb_open_files innodb_optimize_fulltext_only
innodb_page_cleaners innodb_parallel_read_threads innodb_print_all_deadlocks innodb_print_ddl_logs
innodb_purge_batch_size innodb_purge_rseg_truncate_frequency innodb_purge_threads innodb_random_read_ahead
innodb_read_ahead_threshold innodb_read_io_threads innodb_read_only innodb_replication_delay
innodb_rollback_on_timeout innodb_rollback_segments innodb_segment_reserve_factor innodb_sort_buffer_size
innodb_spin_wait_delay innodb_spin_wait_pause_multiplier innodb_sync_array_size innodb_sync_debug
innodb_sync_spin_loops innodb_table_locks innodb_thread_concurrency innodb_thread_sleep_delay
innodb_undo_log_truncate innodb_undo_tablespaces innodb_use_fdatasync innodb_use_native_aio
innodb_validate_tablespace_paths innodb_version innodb_write_io_threads interactive_timeout
internal_tmp_mem_storage_engine join_buffer_size keep_files_on_create key_buffer_size keyring_operations
large_files_support large_page_size large_pages lc_messages lc_messages_dir license lock_wait_timeout
locked_in_memory log_bin_basename log_bin_index log_error_services log_error_suppression_list log_output
log_queries_not_using_indexes log_raw log_statements_unsafe_for_binlog
log_throttle_queries_not_using_indexes log_timestamps long_query_time low_priority_updates
lower_case_file_system mandatory_roles master_info_repository master_verify_checksum min_examined_row_limit
myisam_max_sort_file_size myisam_mmap_size myisam_recover_options myisam_sort_buffer_size
myisam_stats_method myisam_use_mmap net_buffer_length net_read_timeout net_retry_count net_write_timeout new
offline_mode old old_alter_table old_passwords open_files_limit parser_max_mem_size password_require_current
performance_schema persist_only_admin_x509_subject persist_sensitive_variables_in_plaintext
preload_buffer_size print_identified_with_as_hex profiling profiling_history_size
protocol_compression_algorithms protocol_version query_alloc_block_size query_cache_size query_prealloc_size
range_alloc_block_size range_optimizer_max_mem_size rbr_exec_mode read_buffer_size read_rnd_buffer_size
regexp_stack_limit regexp_time_limit relay_log_info_repository relay_log_space_limit
replication_optimize_for_static_plugin_config replication_sender_observe_commit_only
require_secure_transport schema_definition_cache secondary_engine_cost_threshold select_into_buffer_size
select_into_disk_sync select_into_disk_sync_delay server_id_bits server_memory server_uuid
set_operations_buffer_size show_create_table_verbosity show_gipk_in_create_table_and_information_schema
show_old_temporals skip_external_locking skip_show_database slow_launch_time sort_buffer_size
source_verify_checksum sql_auto_is_null sql_big_selects sql_buffer_result sql_log_off sql_notes
sql_quote_show_create sql_replica_skip_counter sql_safe_updates sql_select_limit sql_slave_skip_counter
sql_warnings stored_program_cache stored_program_definition_cache super_read_only sync_binlog
sync_master_info sync_relay_log_info sync_source_info table_definition_cache table_open_cache
table_open_cache_instances table_open_cache_triggers tablespace_definition_cache terminology_use_previous
thread_cache_size thread_handling thread_stack tmp_table_size transaction_alloc_block_size
transaction_isolation transaction_prealloc_size transaction_read_only transaction_write_set_extraction
tx_isolation unique_checks updatable_views_with_limit version wait_timeout windowing_use_high_precision
xa_detach_on_prepare
"""

VARIABLES = Variables(
    primarys=_PRIMARYS.split(),
    files=_FILES.split(),
    empty=(),
    ours=_OURS,
    refused=_REFUSED,
    irrelevant=[*_IRRELEVANT_FAMILIES.split(), *_IRRELEVANT.split()],
    plugins=("auth_socket", "mysql_no_login"),
)
